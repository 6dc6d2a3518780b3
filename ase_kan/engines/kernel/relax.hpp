// Relaxation of positions: FIRE and L-BFGS, with the steps that ASE's classes would take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "watch.hpp"

namespace kan {

class Summation;
struct Total;

struct Relaxation {
    static constexpr double UNKNOWN = std::numeric_limits<double>::quiet_NaN();

    std::size_t n = 0;
    double *positions = nullptr, *forces = nullptr;  // the user's own positions
    const double* masses = nullptr;
    const std::uint8_t* held = nullptr;  // atoms that stay where they are
    bool fix_com = false;                // the center of mass stays where it is
    double fmax = 0.05, maxstep = 0.2;

    // L-BFGS (Nocedal, Math. Comp. 35, 773, 1980): pairs that are kept, the first guess of the curvature, and a factor
    // of steps. A pair of negative curvature is not kept, so that every direction leads downhill, and a step so long that
    // the energy rises is taken back and made shorter.
    bool lbfgs = false;
    std::size_t memory = 100;
    double alpha = 70.0, damping = 1.0;
    // FIRE (Bitzek et al., Phys. Rev. Lett. 97, 170201, 2006), names as there and in ASE.
    double dt = 0.1, dtmax = 1.0, finc = 1.1, fdec = 0.5, astart = 0.1, fa = 0.99, a = 0.1;
    std::int64_t nmin = 5;

    Watch watch;
    std::int64_t done = 0;    // steps so far
    bool unfinished = false;  // the forces of the last step have to come from elsewhere
    bool converged() const;   // no force on an atom is larger than fmax; by the present forces

    // Steps until forces are converged, but so many at the most, and as `Motion::advance`. What throws leaves the atoms
    // as they were after the last step that was done, and the method without memory.
    Total advance(Summation& sums, std::int64_t steps, double* virial, void (*poll)());
    void finish() { unfinished = false, ++done; }
    void undo();

  private:
    using Vector = std::vector<double>;
    Vector constrained() const;
    void step();
    Vector lbfgs_step(const Vector& f);
    Vector fire_step(const Vector& f);
    bool uphill() const;
    void forget();

    Vector saved_, x0_, f0_, velocity_;
    Vector moved_, trial_;       // the last step of L-BFGS, and where it led
    double part_ = 1.0;          // how much of it was taken
    double energy_ = UNKNOWN, energy0_ = UNKNOWN;  // there, and before it
    std::vector<Vector> s_, y_;  // rings
    std::vector<double> rho_;
    std::size_t first_ = 0;      // the oldest pair
    std::int64_t downhill_ = 0;  // steps of FIRE since the last stop
};

}  // namespace kan
