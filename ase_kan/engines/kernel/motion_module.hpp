// A motion as Python gives it: arrays that stay alive as long as it does.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <vector>

#include "motion.hpp"

struct MotionArrays {
    using Moving = nanobind::ndarray<double, nanobind::shape<-1, 3>, nanobind::c_contig, nanobind::device::cpu>;
    using Masses = nanobind::ndarray<const double, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
    using Held = nanobind::ndarray<const bool, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
    using Noise = nanobind::ndarray<const double, nanobind::ndim<2>, nanobind::c_contig, nanobind::device::cpu>;

    MotionArrays(Moving positions, Moving momenta, Moving forces, Masses masses, Held held, bool fix_com,
                 double timestep);
    void langevin(double keep, double spread);
    void bussi(double ratio, double target, double freedom);
    void set_noise(Noise noise);
    // std::invalid_argument if there are no random numbers for so many steps.
    void require_noise(std::int64_t steps) const;

    Moving positions, momenta, forces;
    kan::Motion motion;

  private:
    std::vector<double> masses_, noise_;
    std::vector<std::uint8_t> held_;
};

void bind_motion(nanobind::module_& m);
