// Steps of a relaxation, one after the other without Python.
#include "relax.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sums.hpp"

namespace kan {
namespace {

using Vector = std::vector<double>;

// Atom-steps between two looks at signals: about a hundredth of a second.
constexpr std::size_t LOOK = 50'000;
// A step of L-BFGS that led uphill is this much shorter next time, and not shortened any more below SHORTEST.
constexpr double SHORTER = 0.25, SHORTEST = 1e-6;
// Energies are no better known than to this part of them.
constexpr double ROUNDING = 1e-10;

// In eight sums that do not wait for each other.
double dot(const Vector& a, const Vector& b) {
    double sums[8] = {};
    const std::size_t whole = a.size() / 8 * 8;
    for (std::size_t k = 0; k < whole; k += 8)
        for (std::size_t lane = 0; lane < 8; ++lane) sums[lane] += a[k + lane] * b[k + lane];
    for (std::size_t k = whole; k < a.size(); ++k) sums[k - whole] += a[k] * b[k];
    return std::accumulate(sums, sums + 8, 0.0);
}

// a += factor * b
void add(Vector& a, double factor, const Vector& b) {
    for (std::size_t k = 0; k < a.size(); ++k) a[k] += factor * b[k];
}

void scale(Vector& a, double factor) {
    for (double& x : a) x *= factor;
}

// The longest of three-vectors.
double longest(const Vector& a) {
    double most = 0.0;
    for (std::size_t k = 0; k < a.size(); k += 3)
        most = std::max(most, a[k] * a[k] + a[k + 1] * a[k + 1] + a[k + 2] * a[k + 2]);
    return std::sqrt(most);
}

}  // namespace

Total Relaxation::advance(Summation& sums, std::int64_t steps, double* virial, void (*poll)()) {
    Total total;
    std::size_t since = 0;
    for (std::int64_t number = 0; number < steps; ++number) {
        saved_.assign(positions, positions + 3 * n);
        try {
            if ((since += n) >= LOOK) poll(), since = 0;
            step();
            total = sums.run(positions, false, {forces, virial, nullptr, nullptr}, poll);
        } catch (...) {
            undo();
            throw;
        }
        unfinished = total.beyond();
        energy_ = unfinished ? std::numeric_limits<double>::infinity() : total.energy;
        if (unfinished) break;
        ++done;
        if (number + 1 == steps || !watch.passes(total.kinds()) || converged()) break;
    }
    return total;
}

void Relaxation::undo() {
    std::copy(saved_.begin(), saved_.end(), positions);
    forget();
    unfinished = false;
}

bool Relaxation::converged() const { return longest(constrained()) < fmax; }

// Forces under the constraints; the center of mass is held as by `FixCom` of ASE.
Vector Relaxation::constrained() const {
    Vector f(forces, forces + 3 * n);
    for (std::size_t i = 0; i < n; ++i)
        if (held[i]) f[3 * i] = f[3 * i + 1] = f[3 * i + 2] = 0.0;
    if (!fix_com) return f;
    double squares = 0.0, pull[3] = {0, 0, 0};
    for (std::size_t i = 0; i < n; ++i) {
        squares += masses[i] * masses[i];
        for (int d = 0; d < 3; ++d) pull[d] += masses[i] * f[3 * i + d];
    }
    for (std::size_t k = 0; k < 3 * n; ++k) f[k] -= masses[k / 3] * pull[k % 3] / squares;
    return f;
}

void Relaxation::step() {
    if (lbfgs && uphill()) {
        part_ *= SHORTER;
        for (std::size_t k = 0; k < 3 * n; ++k) positions[k] = x0_[k] + part_ * moved_[k];
        trial_.assign(positions, positions + 3 * n);
        return;
    }
    const Vector f = constrained();
    Vector dr = lbfgs ? lbfgs_step(f) : fire_step(f);
    double mass = 0.0, shift[3] = {0, 0, 0};
    for (std::size_t i = 0; i < n; ++i) {
        mass += masses[i];
        for (int d = 0; d < 3; ++d) shift[d] += masses[i] * dr[3 * i + d];
    }
    for (std::size_t k = 0; k < 3 * n; ++k) {
        if (fix_com) dr[k] -= shift[k % 3] / mass;
        if (held[k / 3]) dr[k] = 0.0;
        positions[k] += dr[k];
    }
    if (!lbfgs) return;
    part_ = 1.0, energy0_ = energy_;
    moved_ = std::move(dr), trial_.assign(positions, positions + 3 * n);
}

// Whether the last step has to be taken back; not if someone has moved the atoms since.
bool Relaxation::uphill() const {
    return part_ > SHORTEST && energy_ - energy0_ > ROUNDING * std::abs(energy0_) && trial_.size() == 3 * n &&
           std::equal(trial_.begin(), trial_.end(), positions);
}

// The method's memory of steps (s) and changes of the gradient (y) makes an inverse Hessian.
Vector Relaxation::lbfgs_step(const Vector& f) {
    if (!x0_.empty()) {
        Vector s(positions, positions + 3 * n), y = f0_;
        add(s, -1.0, x0_), add(y, -1.0, f);
        const double curvature = dot(s, y);
        if (curvature > 0.0 && memory > 0) {
            if (s_.size() < memory) {
                s_.push_back(std::move(s)), y_.push_back(std::move(y)), rho_.push_back(1.0 / curvature);
            } else {
                s_[first_] = std::move(s), y_[first_] = std::move(y), rho_[first_] = 1.0 / curvature;
                first_ = (first_ + 1) % memory;
            }
        }
    }
    x0_.assign(positions, positions + 3 * n), f0_ = f;
    const std::size_t size = s_.size();
    Vector dr = f, part(size);
    for (std::size_t k = size; k-- > 0;) {
        const std::size_t at = (first_ + k) % size;
        part[k] = rho_[at] * dot(s_[at], dr);
        add(dr, -part[k], y_[at]);
    }
    scale(dr, 1.0 / alpha);
    for (std::size_t k = 0; k < size; ++k) {
        const std::size_t at = (first_ + k) % size;
        add(dr, part[k] - rho_[at] * dot(y_[at], dr), s_[at]);
    }
    const double most = longest(dr);
    scale(dr, damping * (most >= maxstep ? maxstep / most : 1.0));
    return dr;
}

Vector Relaxation::fire_step(const Vector& f) {
    Vector& v = velocity_;
    if (v.empty()) {
        v.assign(3 * n, 0.0);
    } else if (dot(f, v) > 0.0) {
        const double mixed = a * std::sqrt(dot(v, v) / dot(f, f));
        scale(v, 1.0 - a), add(v, mixed, f);
        if (downhill_ > nmin) dt = std::min(dt * finc, dtmax), a *= fa;
        ++downhill_;
    } else {
        v.assign(3 * n, 0.0);
        a = astart, dt *= fdec, downhill_ = 0;
    }
    add(v, dt, f);
    Vector dr = v;
    const double length = dt * std::sqrt(dot(v, v));
    scale(dr, dt * (length > maxstep ? maxstep / length : 1.0));
    return dr;
}

void Relaxation::forget() {
    x0_.clear(), f0_.clear(), velocity_.clear(), trial_.clear();
    energy_ = energy0_ = UNKNOWN;
    s_.clear(), y_.clear(), rho_.clear();
    first_ = 0, downhill_ = 0;
}

}  // namespace kan
