// How atoms move: one time step, split around the forces into what comes before them and after, atom by atom.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "watch.hpp"

namespace kan {

class Summation;
struct Total;

// Velocity Verlet; or the BAOAB scheme of Langevin dynamics (Leimkuhler, Matthews, J. Chem. Phys. 138, 174102, 2013); or
// velocity Verlet after a stochastic rescaling of all momenta (Bussi, Donadio, Parrinello, J. Chem. Phys. 126, 014101,
// 2007, eq. A7). Positions and momenta are the user's own arrays. ASE units.
struct Motion {
    std::size_t n = 0;
    double *positions = nullptr, *momenta = nullptr, *forces = nullptr;
    const double* masses = nullptr;
    const std::uint8_t* held = nullptr;  // atoms that stay where they are
    bool fix_com = false;                // the center of mass stays where it is
    double dt = 0.0;
    // Langevin: p -> keep p + spread sqrt(m) xi, with three random numbers xi of each atom in every step.
    bool langevin = false;
    double keep = 1.0, spread = 0.0;
    std::vector<double> roots;  // of the masses
    // Bussi: exp(-dt / tau), mean kinetic energy and degrees of freedom, and two random numbers of every step.
    bool bussi = false;
    double ratio = 1.0, target = 0.0, freedom = 0.0;
    const double* noise = nullptr;
    std::size_t numbers() const { return langevin ? 3 * n : bussi ? 2 : 0; }  // of a step

    Watch watch;
    std::int64_t done = 0;      // steps so far, which hold after a throw as well
    bool unfinished = false;    // the forces of a step under way have to come from elsewhere
    double transferred = 0.0;   // energy from the thermostat of Bussi

    // Move atom i as far as needs no new forces.
    void before(std::size_t i) {
        if (held[i]) return;
        double *r = positions + 3 * i, *p = momenta + 3 * i;
        const double *f = forces + 3 * i, inverse = 1.0 / masses[i];
        for (int d = 0; d < 3; ++d) p[d] += 0.5 * dt * f[d];
        if (langevin) {
            for (int d = 0; d < 3; ++d) {
                r[d] += 0.5 * dt * inverse * p[d];
                p[d] = keep * p[d] + spread * roots[i] * noise[3 * i + d];
                r[d] += 0.5 * dt * inverse * p[d];
            }
        } else {
            for (int d = 0; d < 3; ++d) r[d] += dt * inverse * p[d];
        }
    }
    // The rest of the step, by the new forces.
    void after(std::size_t i) {
        if (held[i]) return;
        for (int d = 0; d < 3; ++d) momenta[3 * i + d] += 0.5 * dt * forces[3 * i + d];
    }

    // So many steps, or fewer: the last is one of extrapolation that has not been told of, or is `unfinished`: atoms
    // are closer than the tables go. Then `forces` must be set and `finish` ends the step, or `undo` takes it back. Tells
    // what was summed in the last step. If `poll` or the sums throw, the atoms are as they were after the last step that
    // was done.
    Total advance(Summation& sums, std::int64_t steps, double* virial, void (*poll)());
    void finish();
    void undo();

  private:
    void before_all();
    void after_all();
    void hold_center();
    void rescale();
    std::vector<double> saved_;  // positions and momenta before the step
    double transferred_before_ = 0.0;
};

}  // namespace kan
