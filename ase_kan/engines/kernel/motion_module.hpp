// A motion or a relaxation as Python gives it: arrays that stay alive as long as it does.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <vector>

#include "motion.hpp"
#include "relax.hpp"

using Moving = nanobind::ndarray<double, nanobind::shape<-1, 3>, nanobind::c_contig, nanobind::device::cpu>;
using Masses = nanobind::ndarray<const double, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
using Held = nanobind::ndarray<const bool, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
using Noise = nanobind::ndarray<const double, nanobind::ndim<2>, nanobind::c_contig, nanobind::device::cpu>;

// What both have.
struct MovingAtoms {
    MovingAtoms(Moving positions, Moving forces, Masses masses, Held held);

    Moving positions, forces;
    std::vector<double> masses;
    std::vector<std::uint8_t> held;
};

struct MotionArrays : MovingAtoms {
    MotionArrays(Moving positions, Moving momenta, Moving forces, Masses masses, Held held, bool fix_com,
                 double timestep);
    void langevin(double keep, double spread);
    void bussi(double ratio, double target, double freedom);
    void set_noise(Noise noise);
    // std::invalid_argument if there are no random numbers for so many steps.
    void require_noise(std::int64_t steps) const;

    Moving momenta;
    kan::Motion moves;

  private:
    std::vector<double> noise_;
};

struct RelaxationArrays : MovingAtoms {
    RelaxationArrays(Moving positions, Moving forces, Masses masses, Held held, bool fix_com, double maxstep);
    void require_noise(std::int64_t) const {}

    kan::Relaxation moves;
};

void bind_motion(nanobind::module_& m);
