// The Python module ase_kan._kernel: one object per calculator, which owns its atoms, its list and its tables.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <thread>

#include "system.hpp"

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

// A NumPy array that owns its memory, not initialized.
template <class T> nb::object array(std::size_t rows, std::size_t columns, T** data) {
    *data = new T[std::max<std::size_t>(rows * columns, 1)];
    nb::capsule owner(*data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    const std::size_t shape[2] = {rows, columns};
    return nb::cast(nb::ndarray<nb::numpy, T>(*data, columns > 1 ? 2 : 1, shape, owner));
}

void on_threads(int threads, const std::function<void(int)>& work) {
    std::vector<std::thread> workers;  // fresh ones: nothing spins, nothing survives a fork
    for (int t = 1; t < threads; ++t) workers.emplace_back(work, t);
    work(0);
    for (auto& worker : workers) worker.join();
}

class Kernel {
  public:
    Kernel(int n_elements, std::vector<int> table_of, double cutoff, double skin, const std::string& instructions)
        : reach_(cutoff + skin), inner_reach_((cutoff + INNER_SKIN * skin) * (1 + ROUNDING)), half_skin2_(skin * skin / 4) {
        system_.n_elements = n_elements;
        system_.table_of = std::move(table_of);
        kernel_ = choose_kernel(instructions, name_);
    }

    void add_table(double cutoff, double low, double high, double start, double slope, std::vector<double> at,
                   std::vector<double> change, Rows rows) {
        kan::Table table{cutoff * cutoff, low * low, high * high, start, slope, std::move(at), std::move(change), {},
                         static_cast<int>(rows.shape(0))};
        table.rows.assign(rows.data(), rows.data() + rows.size());
        system_.tables.push_back(std::move(table));
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
        numbers_.assign(numbers.data(), numbers.data() + numbers.size());
        element_.assign(element.data(), element.data() + element.size());
        std::memcpy(cell_, cell.data(), sizeof cell_);
        std::memcpy(pbc_, pbc.data(), sizeof pbc_);
        std::memcpy(box_, box.data(), sizeof box_);
        std::memcpy(inverse_, inverse.data(), sizeof inverse_);
        threads_ = threads;
        system_.n_atoms = 0;  // the list is out of date
        listed_ = false;
    }

    void forget() {
        numbers_.assign(1, -1);
        last_.clear();
        listed_ = false;
    }

    // (energy, forces, virial, below, above, shortest distance, inner, energies, virials); forces None and energy
    // the number of the first atom whose position is not finite.
    nb::tuple compute(Vectors positions, bool per_atom) {
        const std::size_t n = positions.shape(0);
        double* forces;
        nb::object forces_out = array(n, 3, &forces);
        double *energies = nullptr, *virials = nullptr;
        nb::object energies_out = nb::none(), virials_out = nb::none();
        if (per_atom) {
            energies_out = array(n, 1, &energies), virials_out = array(n, 6, &virials);
            std::fill(energies, energies + n, 0.0), std::fill(virials, virials + 6 * n, 0.0);
        }
        double virial[6] = {0, 0, 0, 0, 0, 0};
        kan::Sums total;
        std::int64_t bad = -1;
        {
            nb::gil_scoped_release release;
            last_.resize(positions.size());
            if (n > 0) bad = run(positions.data(), per_atom, forces, energies, virials, virial, total);
        }
        if (bad >= 0) {
            last_.clear();
            return nb::make_tuple(bad, nb::none(), nb::none(), 0, 0, 0.0, false, nb::none(), nb::none());
        }
        double* w;
        nb::object virial_out = array(6, 1, &w);
        std::copy(virial, virial + 6, w);
        return nb::make_tuple(total.energy, forces_out, virial_out, total.below, total.above,
                              std::sqrt(total.shortest2), total.inner, energies_out, virials_out);
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

    // Gives the number of an atom whose position is not finite, or -1.
    std::int64_t run(const double* positions, bool per_atom, double* forces, double* energies, double* virials, double* virial,
                     kan::Sums& total) {
        kan::System& s = system_;
        const std::size_t n = last_.size() / 3;
        // The share of each thread in n things.
        const auto share = [&](std::size_t n, int t) { return n * t / threads_; };
        std::vector<Moved> moves(threads_);
        on_threads(threads_, [&](int t) {
            std::copy(positions + share(3 * n, t), positions + share(3 * n, t + 1), last_.begin() + share(3 * n, t));
            if (listed_) moves[t] = gather(positions, share(s.atom.size(), t), share(s.atom.size(), t + 1));
        });
        Moved moved{0.0, 0.0};
        for (const Moved& m : moves) {
            moved.since_built = std::max(moved.since_built, m.since_built);
            moved.since_pruned = std::max(moved.since_pruned, m.since_pruned);
        }
        if (moved.since_built > half_skin2_) {
            for (std::size_t i = 0; i < last_.size(); ++i)
                if (!std::isfinite(last_[i])) {
                    listed_ = false;
                    return static_cast<std::int64_t>(i / 3);
                }
            kan::build_list(s, last_.data(), element_.data(), n, box_, inverse_, pbc_, reach_, threads_);
            listed_ = true;
            ++builds_;
            moved.since_pruned = std::numeric_limits<double>::infinity();
        }
        if (moved.since_pruned > INNER_SKIN * INNER_SKIN * half_skin2_) {
            for (std::size_t k = 0; k < s.atom.size(); ++k)
                for (int d = 0; s.atom[k] >= 0 && d < 3; ++d)
                    s.pruned[3 * k + d] = static_cast<float>(last_[3 * s.atom[k] + d] - s.built[3 * k + d]);
            const std::vector<std::size_t> bounds = partition(&kan::Block::all);
            on_threads(threads_, [&](int t) {
                kernel_.prune(s, bounds[t], bounds[t + 1], inner_reach_ * inner_reach_);
            });
            bounds_ = partition(&kan::Block::near);
        }
        const std::size_t lanes = s.n_clusters * kan::LANES;
        sums_.resize(threads_);
        on_threads(threads_, [&](int t) {
            kan::Sums& sums = sums_[t];
            sums.fx.assign(lanes, 0.0), sums.fy.assign(lanes, 0.0), sums.fz.assign(lanes, 0.0);
            sums.energies.assign(per_atom ? lanes : 0, 0.0), sums.virials.assign(per_atom ? 6 * lanes : 0, 0.0);
            sums.shift_force.assign(s.shifts.size(), 0.0);
            sums.energy = 0.0, sums.below = sums.above = 0, sums.inner = false;
            sums.shortest2 = std::numeric_limits<double>::infinity();
            kernel_.sum(s, bounds_[t], bounds_[t + 1], per_atom, sums);
        });
        for (const kan::Sums& sums : sums_) {
            total.energy += sums.energy, total.below += sums.below, total.above += sums.above;
            total.inner |= sums.inner, total.shortest2 = std::min(total.shortest2, sums.shortest2);
        }
        // sum over pairs of F (x) d = sum over atoms of F (x) x + sum over translations of F (x) S
        std::vector<std::array<double, 6>> parts(threads_, std::array<double, 6>{});
        on_threads(threads_, [&](int t) {
            std::array<double, 6>& w = parts[t];
            for (std::size_t k = share(lanes, t); k < share(lanes, t + 1); ++k) {
                if (s.atom[k] < 0) continue;
                const std::size_t i = s.atom[k];
                double f[3] = {0, 0, 0};
                for (const kan::Sums& sums : sums_) f[0] += sums.fx[k], f[1] += sums.fy[k], f[2] += sums.fz[k];
                for (int d = 0; d < 3; ++d) forces[3 * i + d] = f[d];
                w[0] += f[0] * s.x[k], w[1] += f[1] * s.y[k], w[2] += f[2] * s.z[k];
                w[3] += f[1] * s.z[k], w[4] += f[0] * s.z[k], w[5] += f[0] * s.y[k];
                if (!per_atom) continue;
                for (const kan::Sums& sums : sums_) {
                    energies[i] += sums.energies[k];
                    for (int v = 0; v < 6; ++v) virials[6 * i + v] += sums.virials[6 * k + v];
                }
            }
        });
        for (const auto& w : parts)
            for (int v = 0; v < 6; ++v) virial[v] += w[v];
        for (const kan::Sums& sums : sums_)
            for (std::size_t m = 0; m < s.shifts.size(); m += 3) {
                const double *f = &sums.shift_force[m], *x = &s.shifts[m];
                virial[0] += f[0] * x[0], virial[1] += f[1] * x[1], virial[2] += f[2] * x[2];
                virial[3] += f[1] * x[2], virial[4] += f[0] * x[2], virial[5] += f[0] * x[1];
            }
        return -1;
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
    double reach_, inner_reach_, half_skin2_;
    int threads_ = 1;
    bool listed_ = false;
    std::size_t builds_ = 0;
    std::vector<double> last_;
    std::vector<std::int64_t> numbers_{-1};
    std::vector<std::uint8_t> element_;
    double cell_[9] = {}, box_[9] = {}, inverse_[9] = {};
    bool pbc_[3] = {};
    std::vector<std::size_t> bounds_;
    std::vector<kan::Sums> sums_;
};

}  // namespace

NB_MODULE(_kernel, m) {
    nb::class_<Kernel>(m, "Kernel")
        .def(nb::init<int, std::vector<int>, double, double, const std::string&>(), "n_elements"_a, "table_of"_a,
             "cutoff"_a, "skin"_a, "instructions"_a = "best")
        .def("add_table", &Kernel::add_table, "cutoff"_a, "low"_a, "high"_a, "start"_a, "slope"_a, "at"_a, "change"_a,
             "rows"_a)
        .def("changes", &Kernel::changes)
        .def("set_structure", &Kernel::set_structure)
        .def("forget", &Kernel::forget)
        .def("compute", &Kernel::compute)
        .def("last", &Kernel::last)
        .def_prop_ro("builds", &Kernel::builds)
        .def_prop_ro("instructions", &Kernel::instructions);
}
