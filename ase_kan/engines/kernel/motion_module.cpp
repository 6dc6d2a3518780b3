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

MovingAtoms::MovingAtoms(Moving r, Moving f, Masses m, Held h)
    : positions(r), forces(f), masses(m.data(), m.data() + m.size()), held(h.data(), h.data() + h.size()) {
    const std::size_t n = r.shape(0);
    require(f.shape(0) == n && masses.size() == n && held.size() == n,
            "positions, forces, masses and held must have a row for each atom");
    for (double mass : masses) require(mass > 0 && std::isfinite(mass), "masses must be positive");
}

MotionArrays::MotionArrays(Moving r, Moving p, Moving f, Masses m, Held h, bool fix_com, double timestep)
    : MovingAtoms(r, f, m, h), momenta(p) {
    require(p.shape(0) == r.shape(0), "momenta must have a row for each atom");
    require(std::isfinite(timestep), "the time step must be finite");
    moves.n = r.shape(0), moves.positions = r.data(), moves.momenta = p.data(), moves.forces = f.data();
    moves.masses = masses.data(), moves.held = held.data(), moves.fix_com = fix_com, moves.dt = timestep;
}

RelaxationArrays::RelaxationArrays(Moving r, Moving f, Masses m, Held h, bool fix_com, double maxstep)
    : MovingAtoms(r, f, m, h) {
    require(maxstep > 0 && std::isfinite(maxstep), "maxstep must be positive");
    moves.n = r.shape(0), moves.positions = r.data(), moves.forces = f.data(), moves.masses = masses.data();
    moves.held = held.data(), moves.fix_com = fix_com, moves.maxstep = maxstep;
}

void MotionArrays::langevin(double keep, double spread) {
    require(keep >= 0 && keep <= 1 && spread >= 0 && std::isfinite(spread), "keep must be 0 to 1, and spread not negative");
    moves.langevin = true, moves.keep = keep, moves.spread = spread;
    for (double mass : masses) moves.roots.push_back(std::sqrt(mass));
}

void MotionArrays::bussi(double ratio, double target, double freedom) {
    require(ratio >= 0 && ratio <= 1 && target >= 0 && freedom > 0, "ratio must be 0 to 1, and freedom positive");
    moves.bussi = true, moves.ratio = ratio, moves.target = target, moves.freedom = freedom;
}

void MotionArrays::set_noise(Noise noise) {
    noise_.assign(noise.data(), noise.data() + noise.size());
    moves.noise = noise_.data();
}

void MotionArrays::require_noise(std::int64_t steps) const {
    const std::size_t left = moves.noise ? noise_.data() + noise_.size() - moves.noise : 0;
    require(steps >= 0 && steps * moves.numbers() <= left, "there are not enough random numbers for these steps");
}

namespace {

// What the loop in Python needs of both.
template <class Class> void bind_loop(nb::class_<Class>& c) {
    c.def("finish", [](Class& self) { self.moves.finish(); })
        .def("undo", [](Class& self) { self.moves.undo(); })
        .def("watch", [](Class& self, unsigned told, std::int64_t quiet, std::int64_t most_quiet) {
            self.moves.watch = {told, quiet, most_quiet};
        }, "told"_a, "quiet"_a, "most_quiet"_a)
        .def_prop_ro("forces", [](const Class& self) { return self.forces; }, nb::rv_policy::reference)
        .def_prop_ro("told", [](const Class& self) { return self.moves.watch.told; })
        .def_prop_ro("quiet", [](const Class& self) { return self.moves.watch.quiet; })
        .def_prop_ro("done", [](const Class& self) { return self.moves.done; })
        .def_prop_ro("unfinished", [](const Class& self) { return self.moves.unfinished; });
}

}  // namespace

void bind_motion(nb::module_& m) {
    nb::class_<MotionArrays> motion(m, "Motion");
    bind_loop(motion);
    motion
        .def(nb::init<Moving, Moving, Moving, Masses, Held, bool, double>(), "positions"_a.noconvert(),
             "momenta"_a.noconvert(), "forces"_a.noconvert(), "masses"_a, "held"_a, "fix_com"_a, "timestep"_a)
        .def("langevin", &MotionArrays::langevin, "keep"_a, "spread"_a)
        .def("bussi", &MotionArrays::bussi, "ratio"_a, "target"_a, "freedom"_a)
        .def("set_noise", &MotionArrays::set_noise)
        .def("take_transferred", [](MotionArrays& self) { return std::exchange(self.moves.transferred, 0.0); });
    nb::class_<RelaxationArrays> relaxation(m, "Relaxation");
    bind_loop(relaxation);
    relaxation
        .def(nb::init<Moving, Moving, Masses, Held, bool, double>(), "positions"_a.noconvert(),
             "forces"_a.noconvert(), "masses"_a, "held"_a, "fix_com"_a, "maxstep"_a)
        .def("lbfgs", [](RelaxationArrays& self, std::size_t memory, double damping, double alpha) {
            self.moves.lbfgs = true, self.moves.memory = memory, self.moves.damping = damping, self.moves.alpha = alpha;
        }, "memory"_a, "damping"_a, "alpha"_a)
        .def("fire", [](RelaxationArrays& self, double dt, double dtmax, std::int64_t nmin, double finc, double fdec,
                        double astart, double fa, double a) {
            kan::Relaxation& to = self.moves;
            to.dt = dt, to.dtmax = dtmax, to.nmin = nmin, to.finc = finc, to.fdec = fdec, to.astart = astart;
            to.fa = fa, to.a = a;
        }, "dt"_a, "dtmax"_a, "nmin"_a, "finc"_a, "fdec"_a, "astart"_a, "fa"_a, "a"_a)
        .def_prop_rw("fmax", [](const RelaxationArrays& self) { return self.moves.fmax; },
                     [](RelaxationArrays& self, double fmax) { self.moves.fmax = fmax; })
        .def("converged", [](const RelaxationArrays& self) { return self.moves.converged(); });
}
