// The class Motion of the Python module ase_kan._kernel: the atoms of a run of molecular dynamics, and how they move.
#include "motion_module.hpp"

#include <cmath>
#include <stdexcept>
#include <utility>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

void require(bool good, const char* what) {
    if (!good) throw std::invalid_argument(what);
}

}  // namespace

MotionArrays::MotionArrays(Moving r, Moving p, Moving f, Masses masses, Held held, bool fix_com, double timestep)
    : positions(r), momenta(p), forces(f), masses_(masses.data(), masses.data() + masses.size()),
      held_(held.data(), held.data() + held.size()) {
    const std::size_t n = r.shape(0);
    require(p.shape(0) == n && f.shape(0) == n && masses_.size() == n && held_.size() == n,
            "positions, momenta, forces, masses and held must have a row for each atom");
    for (double mass : masses_) require(mass > 0 && std::isfinite(mass), "masses must be positive");
    require(std::isfinite(timestep), "the time step must be finite");
    motion.n = n, motion.positions = r.data(), motion.momenta = p.data(), motion.forces = f.data();
    motion.masses = masses_.data(), motion.held = held_.data(), motion.fix_com = fix_com, motion.dt = timestep;
}

void MotionArrays::langevin(double keep, double spread) {
    require(keep >= 0 && keep <= 1 && spread >= 0 && std::isfinite(spread), "keep must be 0 to 1, and spread not negative");
    motion.langevin = true, motion.keep = keep, motion.spread = spread;
    for (double mass : masses_) motion.roots.push_back(std::sqrt(mass));
}

void MotionArrays::bussi(double ratio, double target, double freedom) {
    require(ratio >= 0 && ratio <= 1 && target >= 0 && freedom > 0, "ratio must be 0 to 1, and freedom positive");
    motion.bussi = true, motion.ratio = ratio, motion.target = target, motion.freedom = freedom;
}

void MotionArrays::set_noise(Noise noise) {
    noise_.assign(noise.data(), noise.data() + noise.size());
    motion.noise = noise_.data();
}

void MotionArrays::require_noise(std::int64_t steps) const {
    const std::size_t left = motion.noise ? noise_.data() + noise_.size() - motion.noise : 0;
    require(steps >= 0 && steps * motion.numbers() <= left, "there are not enough random numbers for these steps");
}

void bind_motion(nb::module_& m) {
    nb::class_<MotionArrays>(m, "Motion")
        .def(nb::init<MotionArrays::Moving, MotionArrays::Moving, MotionArrays::Moving, MotionArrays::Masses,
                      MotionArrays::Held, bool, double>(),
             "positions"_a.noconvert(), "momenta"_a.noconvert(), "forces"_a.noconvert(), "masses"_a, "held"_a,
             "fix_com"_a, "timestep"_a)
        .def("langevin", &MotionArrays::langevin, "keep"_a, "spread"_a)
        .def("bussi", &MotionArrays::bussi, "ratio"_a, "target"_a, "freedom"_a)
        .def("set_noise", &MotionArrays::set_noise)
        .def("finish", [](MotionArrays& self) { self.motion.finish(); })
        .def("take_transferred", [](MotionArrays& self) { return std::exchange(self.motion.transferred, 0.0); })
        .def("watch", [](MotionArrays& self, unsigned told, std::int64_t quiet, std::int64_t most_quiet) {
            self.motion.told = told, self.motion.quiet = quiet, self.motion.most_quiet = most_quiet;
        }, "told"_a, "quiet"_a, "most_quiet"_a)
        .def_prop_ro("forces", [](const MotionArrays& self) { return self.forces; }, nb::rv_policy::reference)
        .def_prop_ro("told", [](const MotionArrays& self) { return self.motion.told; })
        .def_prop_ro("quiet", [](const MotionArrays& self) { return self.motion.quiet; })
        .def_prop_ro("done", [](const MotionArrays& self) { return self.motion.done; })
        .def_prop_ro("unfinished", [](const MotionArrays& self) { return self.motion.unfinished; });
}
