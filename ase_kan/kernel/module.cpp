// The Python module ase_kan._kernel: one object per calculator, which owns its atoms, its list and its tables.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>

#include "system.hpp"
#include "threads.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Vectors = nb::ndarray<const double, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const double, nb::shape<3, 3>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const double, nb::shape<-1, kan::ROW>, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Elements = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Flags = nb::ndarray<const bool, nb::shape<3>, nb::c_contig, nb::device::cpu>;

// The inner skin as a part of the skin.
constexpr double INNER_SKIN = 0.3;
// Displacements since the list was pruned are known to single precision.
constexpr double ROUNDING = 1e-6;
constexpr double MOST_ROWS = 1e8;
constexpr int MOST_THREADS = 1024;
constexpr std::size_t MOST_ATOMS = std::size_t(1) << 27;
// So many clusters take long enough to look at signals within a stage.
constexpr std::size_t LONG = 4096;

kan::PairKernel choose_kernel(const std::string& wanted, std::string& chosen) {
    struct Choice {
        const char* name;
        bool available;
        kan::PairKernel kernel;
    };
    const Choice choices[] = {
#if defined(KAN_X86)
        {"avx512", __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"), kan::avx512::kernel},
        {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), kan::avx2::kernel},
#endif
        {"baseline", true, kan::baseline::kernel},
    };
    for (const Choice& choice : choices)
        if (choice.available && (wanted == "best" || wanted == choice.name)) {
            chosen = choice.name;
            return choice.kernel;
        }
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
    Kernel(int n_elements, std::vector<int> table_of, double cutoff, double skin, const std::string& instructions)
        : cutoff_(cutoff), reach_(cutoff + skin), inner_reach_((cutoff + INNER_SKIN * skin) * (1 + ROUNDING)),
          half_skin2_(skin * skin / 4) {
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
        system_.n_elements = n_elements;
        system_.table_of = std::move(table_of);
        kernel_ = choose_kernel(instructions, name_);
    }

    void add_table(double cutoff, double low, double high, double start, double slope, std::vector<double> at,
                   std::vector<double> change, Rows rows) {
        const double numbers[] = {cutoff, low, high, start, slope};
        require(all_finite(numbers, 5) && all_finite(at.data(), at.size()) && all_finite(rows.data(), rows.size()),
                "a table must be of finite numbers");
        require(cutoff > 0 && cutoff <= cutoff_, "the cutoff of a table must be positive and not beyond the kernel's");
        require(at.size() == change.size(), "a table needs as many changes as places where they are");
        require(rows.shape(0) >= 1 && rows.shape(0) <= MOST_ROWS, "a table needs 1 to 1e8 rows");
        // u(x) is piecewise linear: it is an integer's size everywhere if it is at the ends and the breaks.
        std::vector<double> places{0.0, cutoff * cutoff};
        places.insert(places.end(), at.begin(), at.end());
        for (const double x : places) {
            double u = slope * (x - start);
            for (std::size_t k = 0; k < at.size(); ++k) u += change[k] * std::max(0.0, x - at[k]);
            require(std::abs(u) <= 10.0 * MOST_ROWS, "the map of a table leads far from its rows");
        }
        kan::System& s = system_;
        s.tables.reserve(s.tables.size() + 1);
        s.table_memory.push_back({std::move(at), std::move(change), {rows.data(), rows.data() + rows.size()}});
        const kan::TableMemory& memory = s.table_memory.back();
        s.tables.push_back({cutoff * cutoff, low * low, high * high, start, slope, memory.at.data(),
                            memory.change.data(), memory.at.size(), memory.rows.data(),
                            static_cast<int>(rows.shape(0))});
    }

    // Which of positions, numbers, cell and pbc differ from those of the last calculation: bits 0 to 3.
    int changes(Vectors positions, Numbers numbers, Matrix cell, Flags pbc) const {
        int bits = 0;
        if (numbers.size() != numbers_.size() ||
            std::memcmp(numbers.data(), numbers_.data(), numbers_.size() * sizeof(std::int64_t)))
            bits |= 2;
        if (positions.size() != last_.size() ||
            std::memcmp(positions.data(), last_.data(), last_.size() * sizeof(double)))
            bits |= 1;
        if (std::memcmp(cell.data(), cell_, sizeof cell_)) bits |= 4;
        if (std::memcmp(pbc.data(), pbc_, sizeof pbc_)) bits |= 8;
        return bits;
    }

    // Take over all but the positions; `element` is the number of each atom's element in the tables.
    void set_structure(Numbers numbers, Matrix cell, Flags pbc, Elements element, Matrix box, Matrix inverse,
                       int threads) {
        require(numbers.size() == element.size(), "numbers and element must have one number per atom");
        require(element.size() <= MOST_ATOMS, "the kernel takes up to 1.3e8 atoms");
        require(std::all_of(element.data(), element.data() + element.size(),
                            [&](std::uint8_t e) { return e < system_.n_elements; }),
                "element has a number that the kernel has no tables for");
        require(element.size() == 0 || *std::max_element(system_.table_of.begin(), system_.table_of.end()) <
                                           static_cast<int>(system_.tables.size()),
                "tables are missing: add them first");
        require(all_finite(box.data(), 9) && all_finite(inverse.data(), 9), "box and inverse must be finite");
        require(threads >= 1 && threads <= MOST_THREADS, "threads must be 1 to 1024");
        forget();
        element_.assign(element.data(), element.data() + element.size());
        std::memcpy(cell_, cell.data(), sizeof cell_);
        std::memcpy(pbc_, pbc.data(), sizeof pbc_);
        std::memcpy(box_, box.data(), sizeof box_);
        std::memcpy(inverse_, inverse.data(), sizeof inverse_);
        threads_ = threads;
        numbers_.assign(numbers.data(), numbers.data() + numbers.size());
    }

    // Whatever comes next is new.
    void forget() {
        numbers_.assign(1, -1);
        last_.clear();
        listed_ = pruned_ = false;
    }

    // (energy, forces, virial, below, above, shortest distance, inner, energies, virials).
    nb::tuple compute(Vectors positions, bool per_atom) {
        const std::size_t n = positions.shape(0);
        require(n == element_.size() && n == numbers_.size(), "positions are not those of the structure that was set");
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
        Total total;
        try {
            nb::gil_scoped_release release;
            last_.resize(positions.size());
            if (n > 0) run(positions.data(), per_atom, forces, energies, virials, virial, total);
        } catch (...) {
            forget();  // lists may be half made
            throw;
        }
        return nb::make_tuple(total.energy, forces_out, virial_out, total.below, total.above,
                              std::sqrt(total.shortest2), total.inner, energies_out, virials_out);
    }

    // (i, j, distance) of the pairs outside their data in the last calculation.
    nb::tuple outside() const {
        require(pruned_ || element_.empty(), "nothing has been calculated");
        kan::Outside found;
        if (pruned_) {
            nb::gil_scoped_release release;
            found = kan::find_outside(system_);
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

    // (positions, numbers, cell, pbc) of the last calculation, or None.
    nb::object last() const {
        if (last_.size() != 3 * numbers_.size()) return nb::none();
        double *positions, *cell;
        std::int64_t* numbers;
        bool* pbc;
        nb::object out[] = {array(numbers_.size(), 3, &positions), array(numbers_.size(), 1, &numbers),
                            array(3, 3, &cell), array(3, 1, &pbc)};
        std::copy(last_.begin(), last_.end(), positions);
        std::copy(numbers_.begin(), numbers_.end(), numbers);
        std::copy(cell_, cell_ + 9, cell);
        std::copy(pbc_, pbc_ + 3, pbc);
        return nb::make_tuple(out[0], out[1], out[2], out[3]);
    }

    std::size_t builds() const { return builds_; }
    const std::string& instructions() const { return name_; }

  private:
    // Largest squared displacements; infinite if a position is not finite.
    struct Moved {
        double since_built = std::numeric_limits<double>::infinity(), since_pruned = since_built;
    };

    struct Total {
        double energy = 0.0, shortest2 = std::numeric_limits<double>::infinity();
        std::int64_t below = 0, above = 0;
        bool inner = false;
    };

    // Bring the positions of some lanes up to date.
    Moved gather(const double* positions, std::size_t first, std::size_t end) {
        kan::System& s = system_;
        double since_built = 0.0, since_pruned = 0.0, poison = 0.0;
        for (std::size_t k = first; k < end; ++k) {
            const std::int32_t i = s.atom[k];
            if (i < 0) continue;
            const double *p = &positions[3 * static_cast<std::size_t>(i)], *b = &s.built[3 * k];
            const double dx = p[0] - b[0], dy = p[1] - b[1], dz = p[2] - b[2];
            const double d2 = dx * dx + dy * dy + dz * dz;
            since_built = std::max(since_built, d2);
            poison += d2;  // max() would drop a NaN
            const kan::Wrapped now(p, &s.turns[3 * k], box_);
            s.x[k] = now.at[0], s.y[k] = now.at[1], s.z[k] = now.at[2];
            const float* q = &s.pruned[3 * k];
            const double ex = dx - q[0], ey = dy - q[1], ez = dz - q[2];
            since_pruned = std::max(since_pruned, ex * ex + ey * ey + ez * ez);
        }
        return {std::isfinite(poison) ? since_built : std::numeric_limits<double>::infinity(), since_pruned};
    }

    void run(const double* positions, bool per_atom, double* forces, double* energies, double* virials, double* virial,
             Total& total) {
        kan::System& s = system_;
        const std::size_t n = last_.size() / 3;
        // The share of each thread in n things.
        const auto share = [&](std::size_t n, int t) { return n * t / threads_; };
        std::vector<Moved> moves(threads_);
        kan::on_threads(threads_, [&](int t) {
            std::copy(positions + share(3 * n, t), positions + share(3 * n, t + 1), last_.begin() + share(3 * n, t));
            if (listed_) moves[t] = gather(positions, share(s.atom.size(), t), share(s.atom.size(), t + 1));
        });
        Moved moved{0.0, 0.0};
        for (const Moved& m : moves) {
            moved.since_built = std::max(moved.since_built, m.since_built);
            moved.since_pruned = std::max(moved.since_pruned, m.since_pruned);
        }
        if (!listed_ || moved.since_built > half_skin2_) {
            listed_ = pruned_ = false;
            kan::build_list(s, last_.data(), element_.data(), n, box_, inverse_, pbc_, reach_, threads_, check_signals);
            listed_ = true;
            ++builds_;
        }
        work_.resize(threads_);
        const bool slow = s.n_clusters > LONG;
        if (!pruned_ || moved.since_pruned > INNER_SKIN * INNER_SKIN * half_skin2_) {
            pruned_ = false;
            prune(slow);
            pruned_ = true;
        }
        const std::size_t lanes = s.n_clusters * kan::LANES;
        kan::on_threads(threads_, [&](int t) {
            const kan::View view = s.view();
            const kan::Scratch scratch = prepare(work_[t], lanes, per_atom);
            for (std::size_t block = bounds_[t]; block < bounds_[t + 1]; ++block) {
                if (slow && t == 0) check_signals();
                kernel_.sum(view, s.blocks[block].near.view(), per_atom, scratch, work_[t].sums);
            }
        });
        if (slow) check_signals();
        for (const kan::Workspace& work : work_) {
            total.energy += work.sums.energy, total.below += work.sums.below, total.above += work.sums.above;
            total.inner |= work.sums.inner, total.shortest2 = std::min(total.shortest2, work.sums.shortest2);
        }
        // sum over pairs of F (x) d = sum over atoms of F (x) x + sum over translations of F (x) S
        std::vector<std::array<double, 6>> parts(threads_, std::array<double, 6>{});
        kan::on_threads(threads_, [&](int t) {
            std::array<double, 6>& w = parts[t];
            for (std::size_t k = share(lanes, t); k < share(lanes, t + 1); ++k) {
                if (s.atom[k] < 0) continue;
                const std::size_t i = s.atom[k];
                double f[3] = {0, 0, 0};
                for (const kan::Workspace& work : work_) f[0] += work.fx[k], f[1] += work.fy[k], f[2] += work.fz[k];
                for (int d = 0; d < 3; ++d) forces[3 * i + d] = f[d];
                w[0] += f[0] * s.x[k], w[1] += f[1] * s.y[k], w[2] += f[2] * s.z[k];
                w[3] += f[1] * s.z[k], w[4] += f[0] * s.z[k], w[5] += f[0] * s.y[k];
                if (!per_atom) continue;
                for (const kan::Workspace& work : work_) {
                    energies[i] += work.energies[k];
                    for (int v = 0; v < 6; ++v) virials[6 * i + v] += work.virials[6 * k + v];
                }
            }
        });
        for (const auto& w : parts)
            for (int v = 0; v < 6; ++v) virial[v] += w[v];
        for (const kan::Workspace& work : work_)
            for (std::size_t m = 0; m < s.shifts.size(); m += 3) {
                const double *f = &work.shift_force[m], *x = &s.shifts[m];
                virial[0] += f[0] * x[0], virial[1] += f[1] * x[1], virial[2] += f[2] * x[2];
                virial[3] += f[1] * x[2], virial[4] += f[0] * x[2], virial[5] += f[0] * x[1];
            }
    }

    // Keep the clusters of the list that are within the inner skin now.
    void prune(bool slow) {
        kan::System& s = system_;
        for (std::size_t k = 0; k < s.atom.size(); ++k)
            for (int d = 0; s.atom[k] >= 0 && d < 3; ++d)
                s.pruned[3 * k + d] = static_cast<float>(last_[3 * s.atom[k] + d] - s.built[3 * k + d]);
        const std::vector<std::size_t> bounds = partition(&kan::Block::all);
        kan::on_threads(threads_, [&](int t) {
            const kan::View view = s.view();
            kan::Workspace& work = work_[t];
            for (std::size_t number = bounds[t]; number < bounds[t + 1]; ++number) {
                if (slow && t == 0) check_signals();
                kan::Block& block = s.blocks[number];
                work.entries.resize(std::max(work.entries.size(), block.all.entries.size()));
                work.j.resize(std::max(work.j.size(), block.all.j.size()));
                std::size_t n_entries, n_j;
                kernel_.prune(view, block.all.view(), inner_reach_ * inner_reach_, work.entries.data(), work.j.data(),
                              &n_entries, &n_j);
                block.near.entries.assign(work.entries.begin(), work.entries.begin() + n_entries);
                block.near.j.assign(work.j.begin(), work.j.begin() + n_j);
            }
        });
        bounds_ = partition(&kan::Block::near);
    }

    // Sums that are zero, and room to work in.
    kan::Scratch prepare(kan::Workspace& work, std::size_t lanes, bool per_atom) const {
        const std::size_t tables = system_.tables.size();
        work.fx.assign(lanes, 0.0), work.fy.assign(lanes, 0.0), work.fz.assign(lanes, 0.0);
        work.energies.assign(per_atom ? lanes : 0, 0.0), work.virials.assign(per_atom ? 6 * lanes : 0, 0.0);
        work.shift_force.assign(system_.shifts.size(), 0.0);
        work.sums = {work.fx.data(), work.fy.data(), work.fz.data(), work.energies.data(), work.virials.data(),
                     work.shift_force.data(), 0.0, std::numeric_limits<double>::infinity(), 0, 0, false};
        work.packed.resize(tables * kan::CAPACITY), work.packed_energies.resize(tables * kan::CAPACITY);
        work.filled.resize(tables), work.masks.resize(kan::CHUNK * kan::HALF * system_.n_elements);
        return {work.packed.data(), work.packed_energies.data(), work.filled.data(), work.masks.data()};
    }

    // Consecutive blocks for each thread, with about the same number of cluster pairs.
    std::vector<std::size_t> partition(kan::List kan::Block::* list) const {
        std::size_t all = 0, seen = 0;
        for (const kan::Block& block : system_.blocks) all += (block.*list).j.size();
        std::vector<std::size_t> bounds(1, 0);
        for (std::size_t n = 0; n < system_.blocks.size(); ++n) {
            seen += (system_.blocks[n].*list).j.size();
            while (bounds.size() < static_cast<std::size_t>(threads_) && seen * threads_ >= all * bounds.size())
                bounds.push_back(n + 1);
        }
        bounds.resize(threads_ + 1, system_.blocks.size());
        bounds.back() = system_.blocks.size();
        return bounds;
    }

    kan::System system_;
    kan::PairKernel kernel_;
    std::string name_;
    double cutoff_, reach_, inner_reach_, half_skin2_;
    int threads_ = 1;
    bool listed_ = false, pruned_ = false;  // whether lists are good
    std::size_t builds_ = 0;
    std::vector<double> last_;
    std::vector<std::int64_t> numbers_{-1};
    std::vector<std::uint8_t> element_;
    double cell_[9] = {}, box_[9] = {}, inverse_[9] = {};
    bool pbc_[3] = {};
    std::vector<std::size_t> bounds_;
    std::vector<kan::Workspace> work_;
};

}  // namespace

NB_MODULE(_kernel, m) {
    nb::class_<Kernel>(m, "Kernel")
        .def(nb::init<int, std::vector<int>, double, double, const std::string&>(), "n_elements"_a, "table_of"_a,
             "cutoff"_a, "skin"_a, "instructions"_a = "best")
        .def("add_table", &Kernel::add_table, "cutoff"_a, "low"_a, "high"_a, "start"_a, "slope"_a, "at"_a, "change"_a,
             "rows"_a)
        .def("changes", &Kernel::changes, nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
             nb::arg().noconvert())
        .def("set_structure", &Kernel::set_structure)
        .def("forget", &Kernel::forget)
        .def("compute", &Kernel::compute, nb::arg().noconvert(), nb::arg())
        .def("outside", &Kernel::outside)
        .def("last", &Kernel::last)
        .def_prop_ro("builds", &Kernel::builds)
        .def_prop_ro("instructions", &Kernel::instructions);
}
