"""``ase-kan completion``: what a shell needs in order to complete commands and options."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

SCRIPT = """_ase_kan() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}"
    local words="{commands}"
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    [ "$COMP_CWORD" -eq 1 ] && words="{commands} --help --verbose --version"
    COMPREPLY=($(compgen -W "$words" -- "$word") $(compgen -f -- "$word"))
}}
complete -o filenames -F _ase_kan ase-kan"""
ZSH = "autoload -U +X bashcompinit && bashcompinit"


def add(commands: Any) -> None:
    """The command and its arguments."""
    completion = commands.add_parser(
        "completion", help='completion of commands and options: add  eval "$(ase-kan completion bash)"  to ~/.bashrc'
    )
    completion.add_argument("shell", choices=("bash", "zsh"))
    completion.set_defaults(command=partial(run, commands))


def run(commands: Any, args: argparse.Namespace) -> None:
    """``ase-kan completion``."""
    cases = []
    for name, command in commands.choices.items():
        options = sorted(option for action in command._actions for option in action.option_strings)
        cases.append(f'        {name}) words="{" ".join(options)}" ;;')
    script = SCRIPT.format(commands=" ".join(commands.choices), cases="\n".join(cases))
    print(f"{ZSH}\n{script}" if args.shell == "zsh" else script)
