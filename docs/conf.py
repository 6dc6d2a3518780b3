"""Sphinx: ``make docs`` builds docs/_build/html, ``make docs-links`` asks every link."""

import shutil
from pathlib import Path

from ase_kan import __version__

HERE = Path(__file__).parent
#: Examples that are run while the pages are built; the others take longer than a minute and are shown as they are.
QUICK = ("01", "02", "03", "05", "06", "08", "11")

project, author = "ase_kan", "The ase_kan developers"
copyright = f"{author}, MIT licence"
version = release = __version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "gallery_sources", "benchmarks"]
suppress_warnings = ["config.cache"]  # the scraper below is a function, which Sphinx cannot compare with the last one

html_theme = "furo"
html_title = f"ase_kan {version}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]

myst_enable_extensions = ["dollarmath", "fieldlist"]
myst_heading_anchors = 3

default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False


def prepare_examples() -> None:
    """Copies of the examples with the title that sphinx-gallery wants: the first sentence of what they say."""
    folder = HERE / "gallery_sources"
    folder.mkdir(exist_ok=True)
    (folder / "README.rst").write_text(
        "Examples\n========\n\nEach is a file that runs as it is: ``python examples/01_fit_lennard_jones.py``. "
        "Those without figures take longer than these pages should wait.\n"
    )
    for path in sorted((HERE.parent / "examples").glob("*.py")):
        text = path.read_text()
        end = text.index('"""', 3)
        first, _, rest = text[3:end].partition("\n")
        title = path.stem[3:].replace("_", " ").capitalize().replace("ase lj", "ASE's Lennard-Jones")
        new = f'"""\n{title}\n{"=" * len(title)}\n\n{first}\n{rest}"""{text[end + 3 :]}'
        copy = folder / path.name
        if not copy.exists() or copy.read_text() != new:  # an unchanged file is not run again
            copy.write_text(new)
    for picture in folder.glob("*.png"):
        picture.unlink()


def scrape(block: object, variables: dict[str, object], gallery: dict[str, object]) -> str:
    """The figures that an example has saved, as pages show them."""
    from sphinx_gallery.scrapers import figure_rst

    paths = []
    for picture in sorted(Path(str(variables["src_file"])).parent.glob("*.png")):
        paths.append(next(variables["image_path_iterator"]))  # type: ignore[call-overload]
        shutil.move(picture, paths[-1])
    return figure_rst(paths, str(gallery["src_dir"]))


prepare_examples()
sphinx_gallery_conf = {
    "examples_dirs": "gallery_sources",
    "gallery_dirs": "examples",
    "filename_pattern": "/(" + "|".join(QUICK) + ")_",
    "image_scrapers": (scrape,),
    "matplotlib_animations": False,
    "reset_modules": (),
    "download_all_examples": False,
    "show_signature": False,
    "within_subsection_order": "FileNameSortKey",
    "min_reported_time": 1,
    "remove_config_comments": True,
}
