#include "sums.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "threads.hpp"

namespace kan {
namespace {

// The inner skin as a part of the skin.
constexpr double INNER_SKIN = 0.3;
// Displacements since the list was pruned are known to single precision.
constexpr double ROUNDING = 1e-6;
// So many clusters take long enough to look at signals within a stage.
constexpr std::size_t LONG = 4096;

}  // namespace

Summation::Summation(double cutoff, double skin)
    : reach_(cutoff + skin), inner_reach_((cutoff + INNER_SKIN * skin) * (1 + ROUNDING)), half_skin2_(skin * skin / 4) {}

bool Summation::slow() const { return system.n_clusters > LONG; }

// Bring the positions of some lanes up to date; with a motion, move their atoms first.
Summation::Moved Summation::gather(const double* positions, std::size_t first, std::size_t end, Motion* motion) {
    System& s = system;
    double since_built = 0.0, since_pruned = 0.0, poison = 0.0;
    for (std::size_t k = first; k < end; ++k) {
        const std::int32_t i = s.atom[k];
        if (i < 0) continue;
        if (motion) motion->before(i);
        const double *p = &positions[3 * static_cast<std::size_t>(i)], *b = &s.built[3 * k];
        const double dx = p[0] - b[0], dy = p[1] - b[1], dz = p[2] - b[2];
        const double d2 = dx * dx + dy * dy + dz * dz;
        since_built = std::max(since_built, d2);
        poison += d2;  // max() would drop a NaN
        const Wrapped now(p, &s.turns[3 * k], box);
        s.x[k] = now.at[0], s.y[k] = now.at[1], s.z[k] = now.at[2];
        const float* q = &s.pruned[3 * k];
        const double ex = dx - q[0], ey = dy - q[1], ez = dz - q[2];
        since_pruned = std::max(since_pruned, ex * ex + ey * ey + ez * ez);
    }
    return {std::isfinite(poison) ? since_built : std::numeric_limits<double>::infinity(), since_pruned};
}

// Bring positions, and the lists if atoms have moved too far, up to date.
void Summation::update(const double* positions, void (*poll)(), Motion* motion) {
    const std::size_t n = element.size();
    last.resize(3 * n);
    std::vector<Moved> moves(threads);
    on_threads(threads, [&](int t) {
        if (listed_)
            moves[t] = gather(positions, share(system.atom.size(), t), share(system.atom.size(), t + 1), motion);
    });
    // Not until all threads have moved their atoms.
    on_threads(threads, [&](int t) {
        std::copy(positions + share(3 * n, t), positions + share(3 * n, t + 1), last.begin() + share(3 * n, t));
    });
    Moved moved{0.0, 0.0};
    for (const Moved& m : moves) {
        moved.since_built = std::max(moved.since_built, m.since_built);
        moved.since_pruned = std::max(moved.since_pruned, m.since_pruned);
    }
    if (!listed_ || moved.since_built > half_skin2_) {
        forget();
        build_list(system, last.data(), element.data(), n, box, inverse, periodic, reach_, threads, poll);
        listed_ = true;
        ++builds;
    }
    if (!pruned_ || moved.since_pruned > INNER_SKIN * INNER_SKIN * half_skin2_) prune(poll);
}

Total Summation::run(const double* positions, bool per_atom, const Results& to, void (*poll)(), Motion* motion,
                     bool move) {
    work_.resize(threads);
    update(positions, poll, move ? motion : nullptr);
    system.channels ? sum_embedded(per_atom, poll) : sum_pairs(per_atom, poll);
    if (slow()) poll();
    return collect(per_atom, to, motion);
}

void Summation::sum_pairs(bool per_atom, void (*poll)()) {
    on_threads(threads, [&](int t) {
        const View view = system.view();
        const Scratch scratch = prepare(work_[t], per_atom);
        for (std::size_t block = bounds_[t]; block < bounds_[t + 1]; ++block) {
            if (t == 0 && slow()) poll();
            kernel.sum(view, system.blocks[block].near.view(), per_atom, scratch, work_[t].sums);
        }
    });
}

// Add up what the threads found, and let a motion go on by it.
Total Summation::collect(bool per_atom, const Results& to, Motion* motion) const {
    const System& s = system;
    const std::size_t lanes = s.n_clusters * LANES;
    Total total;
    for (const Workspace& work : work_) {
        total.energy += work.sums.energy, total.below += work.sums.below, total.above += work.sums.above;
        total.inside += work.sums.inside, total.densities += work.sums.densities;
        total.inner |= work.sums.inner, total.shortest2 = std::min(total.shortest2, work.sums.shortest2);
    }
    if (total.beyond()) motion = nullptr;
    // sum over pairs of F (x) d = sum over atoms of F (x) x + sum over translations of F (x) S
    std::vector<std::array<double, 6>> parts(threads, std::array<double, 6>{});
    on_threads(threads, [&](int t) {
        std::array<double, 6>& w = parts[t];
        for (std::size_t k = share(lanes, t); k < share(lanes, t + 1); ++k) {
            if (s.atom[k] < 0) continue;
            const std::size_t i = s.atom[k];
            double f[3] = {0, 0, 0};
            for (const Workspace& work : work_) f[0] += work.fx[k], f[1] += work.fy[k], f[2] += work.fz[k];
            for (int d = 0; d < 3; ++d) to.forces[3 * i + d] = f[d];
            if (motion) motion->after(i);
            w[0] += f[0] * s.x[k], w[1] += f[1] * s.y[k], w[2] += f[2] * s.z[k];
            w[3] += f[1] * s.z[k], w[4] += f[0] * s.z[k], w[5] += f[0] * s.y[k];
            if (!per_atom) continue;
            for (const Workspace& work : work_) {
                to.energies[i] += work.energies[k];
                for (int v = 0; v < 6; ++v) to.virials[6 * i + v] += work.virials[6 * k + v];
            }
        }
    });
    double virial[6] = {0, 0, 0, 0, 0, 0};
    for (const auto& w : parts)
        for (int v = 0; v < 6; ++v) virial[v] += w[v];
    for (const Workspace& work : work_)
        for (std::size_t m = 0; m < s.shifts.size(); m += 3) {
            const double *f = &work.shift_force[m], *x = &s.shifts[m];
            virial[0] += f[0] * x[0], virial[1] += f[1] * x[1], virial[2] += f[2] * x[2];
            virial[3] += f[1] * x[2], virial[4] += f[0] * x[2], virial[5] += f[0] * x[1];
        }
    std::copy(virial, virial + 6, to.virial);
    return total;
}

// Keep the clusters of the list that are within the inner skin now.
void Summation::prune(void (*poll)()) {
    pruned_ = false;
    System& s = system;
    const std::vector<std::size_t> bounds = partition(&Block::all);
    on_threads(threads, [&](int t) {
        for (std::size_t k = share(s.atom.size(), t); k < share(s.atom.size(), t + 1); ++k)
            for (int d = 0; s.atom[k] >= 0 && d < 3; ++d)
                s.pruned[3 * k + d] = static_cast<float>(last[3 * s.atom[k] + d] - s.built[3 * k + d]);
        const View view = s.view();
        Workspace& work = work_[t];
        for (std::size_t number = bounds[t]; number < bounds[t + 1]; ++number) {
            if (t == 0 && slow()) poll();
            Block& block = s.blocks[number];
            work.entries.resize(std::max(work.entries.size(), block.all.entries.size()));
            work.j.resize(std::max(work.j.size(), block.all.j.size()));
            std::size_t n_entries, n_j;
            kernel.prune(view, block.all.view(), inner_reach_ * inner_reach_, work.entries.data(), work.j.data(),
                          &n_entries, &n_j);
            block.near.entries.assign(work.entries.begin(), work.entries.begin() + n_entries);
            block.near.j.assign(work.j.begin(), work.j.begin() + n_j);
        }
    });
    bounds_ = partition(&Block::near);
    pruned_ = true;
}

// Sums that are zero, and room to work in.
Scratch Summation::prepare(Workspace& work, bool per_atom) const {
    const std::size_t tables = system.tables.size(), lanes = system.n_clusters * LANES, channels = system.channels;
    work.fx.assign(lanes, 0.0), work.fy.assign(lanes, 0.0), work.fz.assign(lanes, 0.0);
    work.energies.assign(per_atom ? lanes : 0, 0.0), work.virials.assign(per_atom ? 6 * lanes : 0, 0.0);
    work.shift_force.assign(system.shifts.size(), 0.0), work.density.assign(channels * lanes, 0.0);
    work.sums = {work.fx.data(), work.fy.data(), work.fz.data(), work.energies.data(), work.virials.data(),
                 work.shift_force.data(), 0.0, std::numeric_limits<double>::infinity(), 0, 0, 0, false,
                 work.density.data(), 0};
    work.packed.resize(tables * CAPACITY), work.packed_energies.resize(tables * CAPACITY);
    work.filled.resize(tables), work.masks.resize(CHUNK * HALF * system.n_elements);
    work.packed_densities.resize(tables * 2 * channels * CAPACITY);
    work.of_table.resize(tables), work.padded.resize(tables);
    return {work.packed.data(), work.packed_energies.data(), work.filled.data(), work.masks.data(),
            work.packed_densities.data(), work.of_table.data(), work.padded.data()};
}

// Consecutive blocks for each thread, with about the same number of cluster pairs.
std::vector<std::size_t> Summation::partition(List Block::* list) const {
    std::size_t all = 0, seen = 0;
    for (const Block& block : system.blocks) all += (block.*list).j.size();
    std::vector<std::size_t> bounds(1, 0);
    for (std::size_t n = 0; n < system.blocks.size(); ++n) {
        seen += (system.blocks[n].*list).j.size();
        while (bounds.size() < static_cast<std::size_t>(threads) && seen * threads >= all * bounds.size())
            bounds.push_back(n + 1);
    }
    bounds.resize(threads + 1, system.blocks.size());
    bounds.back() = system.blocks.size();
    return bounds;
}

}  // namespace kan
