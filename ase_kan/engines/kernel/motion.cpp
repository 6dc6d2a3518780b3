// Steps of molecular dynamics, one after the other without Python.
#include "motion.hpp"

#include <algorithm>
#include <cmath>

#include "sums.hpp"
#include "threads.hpp"

namespace kan {
namespace {

// Atom-steps between two looks at signals: about a hundredth of a second.
constexpr std::size_t LOOK = 50'000;

}  // namespace

Total Motion::advance(Summation& sums, std::int64_t steps, double* virial, void (*poll)()) {
    Total total;
    std::size_t since = 0;
    for (std::int64_t step = 0; step < steps; ++step) {
        if ((since += n) >= LOOK) poll(), since = 0;
        saved_.resize(6 * n);
        on_threads(sums.threads, [&](int t) {
            const std::size_t from = sums.share(3 * n, t), to = sums.share(3 * n, t + 1);
            std::copy(positions + from, positions + to, saved_.begin() + from);
            std::copy(momenta + from, momenta + to, saved_.begin() + 3 * n + from);
        });
        transferred_before_ = transferred;
        try {
            rescale();
            // Where nothing has to be known of all atoms first, they are moved while they are sorted into the list.
            const bool together = sums.listed() && !fix_com;
            if (!together) before_all();
            total = sums.run(positions, false, {forces, virial, nullptr, nullptr}, poll, fix_com ? nullptr : this,
                             together);
        } catch (...) {
            undo();
            throw;
        }
        noise += numbers();
        unfinished = total.beyond();
        if (unfinished) break;
        if (fix_com) after_all();
        ++done;
        if (step + 1 < steps && !watch.passes(total.kinds())) break;
    }
    return total;
}

void Motion::finish() {
    after_all();
    unfinished = false;
    ++done;
}

void Motion::undo() {
    std::copy(saved_.begin(), saved_.begin() + 3 * n, positions);
    std::copy(saved_.begin() + 3 * n, saved_.end(), momenta);
    transferred = transferred_before_;
    unfinished = false;
}

void Motion::before_all() {
    if (!fix_com) {
        for (std::size_t i = 0; i < n; ++i) before(i);
        return;
    }
    const double whole = dt;
    for (std::size_t i = 0; i < 3 * n; ++i) momenta[i] += 0.5 * whole * forces[i];
    hold_center();
    const auto drift = [&](double time) {
        for (std::size_t i = 0; i < 3 * n; ++i) positions[i] += time / masses[i / 3] * momenta[i];
    };
    if (langevin) {
        drift(0.5 * whole);
        for (std::size_t i = 0; i < 3 * n; ++i) momenta[i] = keep * momenta[i] + spread * roots[i / 3] * noise[i];
        hold_center();
        drift(0.5 * whole);
    } else {
        drift(whole);
    }
}

void Motion::after_all() {
    for (std::size_t i = 0; i < n; ++i) after(i);
    if (fix_com) hold_center();
}

// Take the velocity of the center of mass from all atoms.
void Motion::hold_center() {
    double mass = 0.0, total[3] = {0, 0, 0};
    for (std::size_t i = 0; i < n; ++i) {
        mass += masses[i];
        for (int d = 0; d < 3; ++d) total[d] += momenta[3 * i + d];
    }
    for (std::size_t i = 0; i < n; ++i)
        for (int d = 0; d < 3; ++d) momenta[3 * i + d] -= masses[i] / mass * total[d];
}

void Motion::rescale() {
    if (!bussi) return;
    double kinetic = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
        const double* p = momenta + 3 * i;
        kinetic += 0.5 * (p[0] * p[0] + p[1] * p[1] + p[2] * p[2]) / masses[i];
    }
    const double part = (1.0 - ratio) * target / kinetic / freedom;
    const double factor = std::sqrt(ratio + part * (noise[1] + noise[0] * noise[0]) +
                                    2.0 * noise[0] * std::sqrt(ratio * part));
    for (std::size_t i = 0; i < 3 * n; ++i) momenta[i] *= factor;
    transferred += (factor * factor - 1.0) * kinetic;
}

}  // namespace kan
