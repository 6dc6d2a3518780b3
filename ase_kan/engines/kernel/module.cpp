// The Python module ase_kan._kernel: one object per calculator, which owns its atoms, its list and its tables.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "motion_module.hpp"
#include "radial.hpp"
#include "sums.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Vectors = nb::ndarray<const double, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const double, nb::shape<3, 3>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Triples = nb::ndarray<const double, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Grid = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Elements = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Flags = nb::ndarray<const bool, nb::shape<3>, nb::c_contig, nb::device::cpu>;

constexpr double MOST_ROWS = 1e8;
constexpr int MOST_THREADS = 1024;
constexpr std::size_t MOST_ATOMS = std::size_t(1) << 27;

// The sums of an instruction set.
struct Choice {
    const char* name;
    bool available;
    kan::PairKernel kernel;
    kan::EmbeddedKernel embedded_kernel;
};

Choice choose_kernel(const std::string& wanted) {
    const Choice choices[] = {
#if defined(KAN_X86)
        {"avx512", __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"),
         kan::avx512::kernel, kan::avx512::embedded_kernel},
        {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"),
         kan::avx2::kernel, kan::avx2::embedded_kernel},
#endif
        {"baseline", true, kan::baseline::kernel, kan::baseline::embedded_kernel},
    };
    for (const Choice& choice : choices)
        if (choice.available && (wanted == "best" || wanted == choice.name)) return choice;
    throw nb::value_error(("this machine has no instruction set " + wanted).c_str());
}

// Ctrl-C and other signals; for threads without the GIL.
void check_signals() {
    nb::gil_scoped_acquire gil;
    if (PyErr_CheckSignals()) throw nb::python_error();
}

void require(bool good, const char* what) {
    if (!good) throw std::invalid_argument(what);
}

bool all_finite(const double* values, std::size_t n) {
    return std::all_of(values, values + n, [](double v) { return std::isfinite(v); });
}

// Bit by bit, and much faster than by value; memcmp wants no null pointers even if there is nothing to compare.
template <class T> bool same(const T* values, std::size_t n, const std::vector<T>& others) {
    return n == others.size() && (n == 0 || std::memcmp(values, others.data(), n * sizeof(T)) == 0);
}

// A NumPy array that owns its memory, not initialized.
template <class T> nb::object array(std::size_t rows, std::size_t columns, T** data) {
    std::unique_ptr<T[]> memory(new T[std::max<std::size_t>(rows * columns, 1)]);
    nb::capsule owner(memory.get(), [](void* p) noexcept { delete[] static_cast<T*>(p); });
    *data = memory.release();
    const std::size_t shape[2] = {rows, columns};
    return nb::cast(nb::ndarray<nb::numpy, T>(*data, columns > 1 ? 2 : 1, shape, owner));
}

class Kernel {
  public:
    Kernel(int n_elements, std::vector<int> table_of, double cutoff, double skin, const std::string& instructions,
           int channels)
        : sums_(cutoff, skin), cutoff_(cutoff) {
        require(n_elements >= 1 && n_elements < kan::NO_ELEMENT, "the kernel takes 1 to 254 elements");
        require(table_of.size() == static_cast<std::size_t>(n_elements) * n_elements,
                "table_of must have a number for every two elements");
        for (int i = 0; i < n_elements; ++i)
            for (int j = 0; j < n_elements; ++j)
                require(table_of[i * n_elements + j] >= 0 &&
                            table_of[i * n_elements + j] == table_of[j * n_elements + i],
                        "table_of must be symmetric, without negative numbers");
        require(cutoff > 0 && cutoff <= kan::FARTHEST && skin >= 0 && skin <= kan::FARTHEST,
                "cutoff and skin must be finite distances, the cutoff above zero");
        sums_.system.n_elements = n_elements;
        sums_.system.table_of = std::move(table_of);
        require(channels >= 0 && channels <= kan::MOST_CHANNELS, "the kernel takes 0 to 16 channels");
        sums_.system.channels = channels;
        const Choice choice = choose_kernel(instructions);
        sums_.kernel = choice.kernel, sums_.embedded_kernel = choice.embedded_kernel, name_ = choice.name;
    }

    void add_table(double cutoff, double low, double high, double start, double slope, std::vector<double> at,
                   std::vector<double> change, Rows rows, std::vector<double> gaps) {
        const double numbers[] = {cutoff, low, high, start, slope};
        require(all_finite(numbers, 5) && all_finite(at.data(), at.size()) && all_finite(rows.data(), rows.size()) &&
                    all_finite(gaps.data(), gaps.size()),
                "a table must be of finite numbers");
        require(cutoff > 0 && cutoff <= cutoff_, "the cutoff of a table must be positive and not beyond the kernel's");
        require(gaps.size() % 2 == 0, "a gap has two ends");
        for (double& end : gaps) end *= end;
        // x is r^2 for a pair potential and r for an embedded-atom potential.
        check_map(start, slope, at, change, rows, {0.0, sums_.system.channels ? cutoff : cutoff * cutoff});
        kan::System& s = sums_.system;
        s.tables.reserve(s.tables.size() + 1);  // nothing throws between the two
        s.table_memory.push_back({std::move(at), std::move(change), std::move(gaps), {rows.data(), rows.data() + rows.size()}});
        const kan::TableMemory& memory = s.table_memory.back();
        s.tables.push_back({cutoff * cutoff, low * low, high * high, start, slope, memory.at.data(),
                            memory.change.data(), memory.at.size(), memory.rows.data(),
                            static_cast<int>(rows.shape(0)), memory.gaps.data(), memory.gaps.size() / 2,
                            rows.shape(1) / kan::ROW});
    }

    // F of the next channel of the next element.
    void add_embedding(double low, double high, double least, double most, double start, double end, double slope,
                       std::vector<double> at, std::vector<double> change, Rows rows, std::vector<double> gaps) {
        const double numbers[] = {low, high, start, end, slope};
        require(all_finite(numbers, 5) && all_finite(at.data(), at.size()) && all_finite(rows.data(), rows.size()) &&
                    all_finite(gaps.data(), gaps.size()),
                "a table must be of finite numbers");
        require(gaps.size() % 2 == 0, "a gap has two ends");
        require(start < end && least <= start && most >= end,
                "an embedding table must end after it starts, within its limits");
        check_map(start, slope, at, change, rows, {start, end});
        require(rows.shape(1) == kan::ROW, "an embedding table has one function");
        kan::System& s = sums_.system;
        s.embeddings.reserve(s.embeddings.size() + 1);  // nothing throws between the two
        s.table_memory.push_back({std::move(at), std::move(change), std::move(gaps), {rows.data(), rows.data() + rows.size()}});
        const kan::TableMemory& memory = s.table_memory.back();
        s.embeddings.push_back({low, high, least, most, start, end, slope, memory.at.data(), memory.change.data(),
                                memory.at.size(), memory.rows.data(), static_cast<int>(rows.shape(0)),
                                memory.gaps.data(), memory.gaps.size() / 2});
    }

    // Which of positions, numbers, cell and pbc differ from those of the last calculation: bits 0 to 3.
    int changes(Vectors positions, Numbers numbers, Matrix cell, Flags pbc) const {
        if (!known_) return 15;
        const std::vector<double>& last = sums_.last;
        int bits = 0;
        if (!same(positions.data(), positions.size(), last)) bits |= 1;
        if (!same(numbers.data(), numbers.size(), numbers_)) bits |= 2;
        if (std::memcmp(cell.data(), cell_, sizeof cell_)) bits |= 4;
        if (std::memcmp(pbc.data(), sums_.periodic, sizeof sums_.periodic)) bits |= 8;
        return bits;
    }

    // Take over all but the positions; `element` is the number of each atom's element in the tables.
    void set_structure(Numbers numbers, Matrix cell, Flags pbc, Elements element, Matrix box, Matrix inverse,
                       int threads) {
        require(numbers.size() == element.size(), "numbers and element must have one number per atom");
        require(element.size() <= MOST_ATOMS, "the kernel takes up to 1.3e8 atoms");
        const kan::System& s = sums_.system;
        require(std::all_of(element.data(), element.data() + element.size(),
                            [&](std::uint8_t e) { return e < s.n_elements; }),
                "element has a number that the kernel has no tables for");
        require(element.size() == 0 || *std::max_element(s.table_of.begin(), s.table_of.end()) <
                                           static_cast<int>(s.tables.size()),
                "tables are missing: add them first");
        require(s.embeddings.size() == static_cast<std::size_t>(s.n_elements) * s.channels,
                "there must be an embedding table for every element and channel");
        for (int i = 0; element.size() && i < s.n_elements; ++i)
            for (int j = i; j < s.n_elements; ++j)
                require(s.tables[s.table_of[i * s.n_elements + j]].functions ==
                            1 + static_cast<std::size_t>(s.channels) * (i == j ? 1 : 2),
                        "a table must have phi, and f of each channel, both ways if the elements differ");
        require(all_finite(box.data(), 9) && all_finite(inverse.data(), 9), "box and inverse must be finite");
        require(threads >= 1 && threads <= MOST_THREADS, "threads must be 1 to 1024");
        forget();
        numbers_.assign(numbers.data(), numbers.data() + numbers.size());
        std::copy(cell.data(), cell.data() + 9, cell_);
        sums_.element.assign(element.data(), element.data() + element.size());
        std::copy(pbc.data(), pbc.data() + 3, sums_.periodic);
        std::copy(box.data(), box.data() + 9, sums_.box);
        std::copy(inverse.data(), inverse.data() + 9, sums_.inverse);
        sums_.threads = threads;
        known_ = true;
    }

    // Whatever comes next is new.
    void forget() {
        known_ = false;
        sums_.last.clear();
        sums_.forget();
    }

    // (energy, forces, virial, below, above, in gaps, shortest distance, inner, energies, virials, densities outside).
    nb::tuple compute(Vectors positions, bool per_atom) {
        const std::size_t n = positions.shape(0);
        require(known_ && n == numbers_.size(), "positions are not those of the structure that was set");
        double* forces;
        nb::object forces_out = array(n, 3, &forces);
        double *energies = nullptr, *virials = nullptr;
        nb::object energies_out = nb::none(), virials_out = nb::none();
        if (per_atom) {
            energies_out = array(n, 1, &energies), virials_out = array(n, 6, &virials);
            std::fill(energies, energies + n, 0.0), std::fill(virials, virials + 6 * n, 0.0);
        }
        double* virial;
        nb::object virial_out = array(6, 1, &virial);
        std::fill(virial, virial + 6, 0.0);
        kan::Total total;
        try {
            nb::gil_scoped_release release;
            if (n > 0) total = sums_.run(positions.data(), per_atom, {forces, virial, energies, virials}, check_signals);
        } catch (...) {
            forget();  // lists may be half made
            throw;
        }
        return nb::make_tuple(total.energy, forces_out, virial_out, total.below, total.above, total.inside,
                              std::sqrt(total.shortest2), total.inner, energies_out, virials_out,
                              total.densities);
    }

    // So many steps of a motion or relaxation of these atoms, or fewer (motion.hpp); of the last one, as `compute`.
    template <class Atoms> nb::tuple advance(Atoms& atoms, std::int64_t steps) {
        require(known_ && atoms.moves.n == numbers_.size() && !numbers_.empty(), "atoms that move must be those that were set");
        require(!atoms.moves.unfinished, "finish the step first");
        atoms.require_noise(steps);
        double* virial;
        nb::object virial_out = array(6, 1, &virial);
        std::fill(virial, virial + 6, 0.0);
        kan::Total total;
        try {
            nb::gil_scoped_release release;
            total = atoms.moves.advance(sums_, steps, virial, check_signals);
        } catch (...) {
            forget();  // lists may be half made
            throw;
        }
        return nb::make_tuple(total.energy, atoms.forces, virial_out, total.below, total.above, total.inside,
                              std::sqrt(total.shortest2), total.inner, nb::none(), nb::none(), total.densities);
    }

    // (i, j, distance) of the pairs outside their data in the last calculation.
    nb::tuple outside() const {
        require(sums_.listed() || (known_ && numbers_.empty()), "nothing has been calculated");
        kan::Outside found;
        if (sums_.listed()) {
            nb::gil_scoped_release release;
            found = kan::find_outside(sums_.system);
        }
        std::int64_t *i, *j;
        double* distance;
        nb::object out[] = {array(found.i.size(), 1, &i), array(found.i.size(), 1, &j),
                            array(found.i.size(), 1, &distance)};
        std::copy(found.i.begin(), found.i.end(), i);
        std::copy(found.j.begin(), found.j.end(), j);
        std::copy(found.distance.begin(), found.distance.end(), distance);
        return nb::make_tuple(out[0], out[1], out[2]);
    }

    // Sums of the last calculation for functions that are linear between nodes (radial.hpp): (energy, forces, virial,
    // grades, lost), forces and virial None if not wanted. `ends` has start, end and floor of each table, `grades` its grades.
    nb::tuple radial(Triples ends, Grid grades, std::size_t nodes, bool forces) const {
        const kan::System& s = sums_.system;
        const std::size_t n = numbers_.size(), tables = s.tables.size(), columns = tables * nodes;
        require(known_ && (sums_.listed() || n == 0), "nothing has been calculated");
        require(ends.shape(0) == tables && grades.shape(0) == tables, "ends and grades must have a row per table");
        require(nodes >= 2 && grades.shape(1) >= 2, "two nodes are the fewest");
        std::vector<kan::RadialGrid> grids;
        for (std::size_t t = 0; t < tables; ++t) {
            const double* end = ends.data() + 3 * t;
            require(0 < end[0] && end[0] < end[1], "the nodes of a table must start before they end");
            grids.push_back({end[0], end[1], end[2], t * nodes, nodes, grades.data() + t * grades.shape(1),
                             grades.shape(1)});
        }
        double *energy, *virial = nullptr, *levels;
        std::uint8_t* lost;
        float* pulls = nullptr;
        nb::object out[] = {array(columns, 1, &energy), nb::none(), nb::none(), array(n, 1, &levels), array(n, 1, &lost)};
        if (forces) {
            out[1] = array(n, 3 * columns, &pulls), out[2] = array(columns, 6, &virial);
            std::fill(pulls, pulls + 3 * n * columns, 0.0f), std::fill(virial, virial + 6 * columns, 0.0);
        }
        std::fill(energy, energy + columns, 0.0);
        std::fill(levels, levels + n, 0.0), std::fill(lost, lost + n, std::uint8_t(0));
        {
            nb::gil_scoped_release release;
            if (n > 0) kan::add_radial(s, grids, {energy, pulls, virial, levels, lost, columns});
        }
        return nb::make_tuple(out[0], out[1], out[2], out[3], out[4]);
    }

    // Densities of the atoms in the last calculation, a row for each.
    nb::object densities() const {
        require(sums_.listed() || (known_ && numbers_.empty()), "nothing has been calculated");
        const kan::System& s = sums_.system;
        const std::size_t channels = s.channels, lanes = numbers_.empty() ? 0 : s.atom.size();
        double* density;
        nb::object out = array(numbers_.size(), channels, &density);
        for (std::size_t k = 0; k < lanes; ++k)
            for (std::size_t c = 0; s.atom[k] >= 0 && c < channels; ++c)
                density[s.atom[k] * channels + c] = s.density[c * lanes + k];
        return out;
    }

    // (positions, numbers, cell, pbc) of the last calculation, or None.
    nb::object last() const {
        if (!known_ || sums_.last.size() != 3 * numbers_.size()) return nb::none();
        double *positions, *cell;
        std::int64_t* numbers;
        bool* pbc;
        nb::object out[] = {array(numbers_.size(), 3, &positions), array(numbers_.size(), 1, &numbers),
                            array(3, 3, &cell), array(3, 1, &pbc)};
        std::copy(sums_.last.begin(), sums_.last.end(), positions);
        std::copy(numbers_.begin(), numbers_.end(), numbers);
        std::copy(cell_, cell_ + 9, cell);
        std::copy(sums_.periodic, sums_.periodic + 3, pbc);
        return nb::make_tuple(out[0], out[1], out[2], out[3]);
    }

    std::size_t builds() const { return sums_.builds; }
    const std::string& instructions() const { return name_; }

  private:
    // u(x) is piecewise linear: it is an integer's size everywhere if it is at the ends and the breaks.
    static void check_map(double start, double slope, const std::vector<double>& at, const std::vector<double>& change,
                          const Rows& rows, std::vector<double> places) {
        require(at.size() == change.size(), "a table needs as many changes as places where they are");
        require(rows.shape(0) >= 1 && rows.shape(0) <= MOST_ROWS, "a table needs 1 to 1e8 rows");
        require(rows.shape(1) >= kan::ROW && rows.shape(1) % kan::ROW == 0, "a row has eight numbers for each function");
        places.insert(places.end(), at.begin(), at.end());
        for (const double x : places) {
            double u = slope * (x - start);
            for (std::size_t k = 0; k < at.size(); ++k) u += change[k] * std::max(0.0, x - at[k]);
            require(std::abs(u) <= 10.0 * MOST_ROWS, "the map of a table leads far from its rows");
        }
    }

    kan::Summation sums_;
    std::string name_;
    double cutoff_;
    bool known_ = false;  // whether the following are those of the structure to calculate
    std::vector<std::int64_t> numbers_;
    double cell_[9] = {};
};

}  // namespace

NB_MODULE(_kernel, m) {
    bind_motion(m);
    nb::class_<Kernel>(m, "Kernel")
        .def(nb::init<int, std::vector<int>, double, double, const std::string&, int>(), "n_elements"_a, "table_of"_a,
             "cutoff"_a, "skin"_a, "instructions"_a = "best", "channels"_a = 0)
        .def("add_table", &Kernel::add_table, "cutoff"_a, "low"_a, "high"_a, "start"_a, "slope"_a, "at"_a, "change"_a,
             "rows"_a, "gaps"_a = std::vector<double>())
        .def("add_embedding", &Kernel::add_embedding, "low"_a, "high"_a, "least"_a, "most"_a, "start"_a, "end"_a,
             "slope"_a, "at"_a, "change"_a, "rows"_a, "gaps"_a = std::vector<double>())
        .def("changes", &Kernel::changes, nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
             nb::arg().noconvert())
        .def("set_structure", &Kernel::set_structure)
        .def("forget", &Kernel::forget)
        .def("compute", &Kernel::compute, nb::arg().noconvert(), nb::arg())
        .def("advance", &Kernel::advance<MotionArrays>)
        .def("advance", &Kernel::advance<RelaxationArrays>)
        .def("outside", &Kernel::outside)
        .def("radial", &Kernel::radial, "ends"_a, "grades"_a, "nodes"_a, "forces"_a)
        .def("densities", &Kernel::densities)
        .def("last", &Kernel::last)
        .def_prop_ro("builds", &Kernel::builds)
        .def_prop_ro("instructions", &Kernel::instructions);
}
