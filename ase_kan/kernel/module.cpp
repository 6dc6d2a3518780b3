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

kan::PairKernel choose_kernel(const std::string& wanted, std::string& chosen) {
    struct Choice {
        const char* name;
        bool available;
        kan::PairKernel kernel;
    };
    const Choice choices[] = {
#if defined(KAN_X86)
        {"avx512", __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"), kan::avx512::pairs},
        {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), kan::avx2::pairs},
#endif
        {"baseline", true, kan::baseline::pairs},
    };
    for (const Choice& choice : choices)
        if (choice.available && (wanted == "best" || wanted == choice.name)) {
            chosen = choice.name;
            return choice.kernel;
        }
    throw nb::value_error(("this machine has no instruction set " + wanted).c_str());
}

// A NumPy array that owns its memory.
template <class T> nb::object array(std::size_t rows, std::size_t columns, T** data) {
    *data = new T[std::max<std::size_t>(rows * columns, 1)]();
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
        : reach_(cutoff + skin), half_skin2_(skin * skin / 4) {
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
        if (per_atom) energies_out = array(n, 1, &energies), virials_out = array(n, 6, &virials);
        double virial[6] = {0, 0, 0, 0, 0, 0};
        kan::Sums total;
        std::int64_t bad = -1;
        {
            nb::gil_scoped_release release;
            last_.assign(positions.data(), positions.data() + positions.size());
            if (n > 0) bad = run(per_atom, forces, energies, virials, virial, total);
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

    std::size_t builds() const { return builds_; }
    const std::string& instructions() const { return name_; }

  private:
    // Bring the lanes' positions up to date. Gives the largest squared displacement since the list was built; NaN or
    // infinite if a position is not finite.
    double gather() {
        kan::System& s = system_;
        const std::size_t lanes = s.n_clusters * kan::LANES;
        double largest = 0.0, poison = 0.0;
        for (std::size_t k = 0; k < lanes; ++k) {
            const std::int32_t i = s.atom[k];
            if (i < 0) continue;
            const double *p = &last_[3 * static_cast<std::size_t>(i)], *b = &s.built[3 * k], *w = &s.wrap[3 * k];
            const double dx = p[0] - b[0], dy = p[1] - b[1], dz = p[2] - b[2];
            const double d2 = dx * dx + dy * dy + dz * dz;
            largest = std::max(largest, d2);
            poison += d2;  // max() would drop a NaN
            s.x[k] = p[0] - w[0], s.y[k] = p[1] - w[1], s.z[k] = p[2] - w[2];
        }
        return std::isfinite(poison) ? largest : poison;
    }

    // Gives the number of an atom whose position is not finite, or -1.
    std::int64_t run(bool per_atom, double* forces, double* energies, double* virials, double* virial,
                     kan::Sums& total) {
        kan::System& s = system_;
        const std::size_t n = last_.size() / 3;
        const double moved = listed_ ? gather() : std::numeric_limits<double>::infinity();
        if (!(moved <= half_skin2_)) {
            for (std::size_t i = 0; i < last_.size(); ++i)
                if (!std::isfinite(last_[i])) {
                    listed_ = false;
                    return static_cast<std::int64_t>(i / 3);
                }
            kan::build_list(s, last_.data(), element_.data(), n, box_, inverse_, pbc_, reach_, threads_);
            listed_ = true;
            ++builds_;
            partition();
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
            kernel_(s, bounds_[t], bounds_[t + 1], per_atom, sums);
        });
        total.shortest2 = std::numeric_limits<double>::infinity();
        for (const kan::Sums& sums : sums_) {
            total.energy += sums.energy, total.below += sums.below, total.above += sums.above;
            total.inner |= sums.inner, total.shortest2 = std::min(total.shortest2, sums.shortest2);
        }
        // sum over pairs of F (x) d = sum over atoms of F (x) x + sum over translations of F (x) S
        std::vector<std::array<double, 6>> parts(threads_, std::array<double, 6>{});
        on_threads(threads_, [&](int t) {
            std::array<double, 6>& w = parts[t];
            const std::size_t part = (s.n_clusters + threads_ - 1) / threads_ * kan::LANES;
            for (std::size_t k = t * part; k < std::min(lanes, (t + 1) * part); ++k) {
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
    void partition() {
        std::size_t all = 0, seen = 0;
        for (const kan::Block& block : system_.blocks) all += block.j.size();
        bounds_.assign(1, 0);
        for (std::size_t n = 0; n < system_.blocks.size(); ++n) {
            seen += system_.blocks[n].j.size();
            while (bounds_.size() < static_cast<std::size_t>(threads_) && seen * threads_ >= all * bounds_.size())
                bounds_.push_back(n + 1);
        }
        bounds_.resize(threads_ + 1, system_.blocks.size());
        bounds_.back() = system_.blocks.size();
    }

    kan::System system_;
    kan::PairKernel kernel_;
    std::string name_;
    double reach_, half_skin2_;
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
        .def_prop_ro("builds", &Kernel::builds)
        .def_prop_ro("instructions", &Kernel::instructions);
}
