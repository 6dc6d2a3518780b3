// Embedded-atom sums: densities over all pairs, F over all atoms, forces over all pairs again.
#include "sums.hpp"

#include <algorithm>

#include "threads.hpp"

namespace kan {

// Each thread goes over the same blocks twice, and keeps in between what it found about each pair.
void Summation::sum_embedded(bool per_atom, void (*poll)()) {
    const std::size_t lanes = system.n_clusters * LANES;
    system.density.resize(system.channels * lanes), system.push.resize(system.channels * lanes);
    std::vector<Scratch> scratches(threads);
    on_threads(threads, [&](int t) { densities(t, per_atom, scratches[t] = prepare(work_[t], per_atom), poll); });
    on_threads(threads, [&](int t) { embed(t, per_atom); });
    on_threads(threads, [&](int t) {
        Workspace& work = work_[t];
        const View view = system.view();
        Kept kept{work.kept.data(), work.kept_masks.data(), work.kept_counts.data()};
        for (std::size_t block = bounds_[t]; block < bounds_[t + 1]; ++block) {
            if (t == 0 && slow()) poll();
            embedded_kernel.forces(view, system.blocks[block].near.view(), system.push.data(), per_atom, scratches[t],
                                   work.sums, kept);
        }
    });
}

// The first pass of a thread.
void Summation::densities(int t, bool per_atom, const Scratch& scratch, void (*poll)()) {
    Workspace& work = work_[t];
    const View view = system.view();
    const std::size_t n_tables = system.tables.size();
    std::size_t functions = 0;
    for (const Table& table : system.tables) functions = std::max(functions, table.functions);
    if (per_atom) ++functions;
    // What is used of the vectors. They grow, an entry at a time, to the size of the largest calculation.
    std::size_t values = 0, masks = 0, counts = 0;
    for (std::size_t block = bounds_[t]; block < bounds_[t + 1]; ++block) {
        if (t == 0 && slow()) poll();
        const ListView list = system.blocks[block].near.view();
        for (std::size_t number = 0; number < list.size; ++number) {
            const Entry& entry = list.entries[number];
            const std::size_t met = entry.end - entry.begin, chunks = (met + CHUNK - 1) / CHUNK;
            const auto reserve = [](auto& vector, std::size_t used, std::size_t more) {
                if (vector.size() < used + more) vector.resize(used + more + used / 2);
            };
            reserve(work.kept, values, functions * (met * HALF * LANES + chunks * n_tables * LANES));
            reserve(work.kept_masks, masks, met * HALF * system.n_elements);
            reserve(work.kept_counts, counts, chunks * n_tables);
            Kept kept{&work.kept[values], &work.kept_masks[masks], &work.kept_counts[counts]};
            embedded_kernel.densities(view, list, entry, per_atom, scratch, work.sums, kept);
            values = kept.values - work.kept.data(), masks = kept.masks - work.kept_masks.data();
            counts = kept.counts - work.kept_counts.data();
        }
    }
}

// A thread's share of the atoms: the densities that all threads found, and F of them.
void Summation::embed(int t, bool per_atom) {
    const std::size_t lanes = system.n_clusters * LANES;
    const std::size_t begin = share(system.n_clusters, t), end = share(system.n_clusters, t + 1);
    for (int c = 0; c < system.channels; ++c)
        for (std::size_t k = c * lanes + begin * LANES; k < c * lanes + end * LANES; ++k) {
            double density = 0.0;
            for (const Workspace& work : work_) density += work.density[k];
            system.density[k] = density;
        }
    embedded_kernel.embed(system.view(), begin, end, system.density.data(), system.push.data(), per_atom,
                          work_[t].sums);
}

}  // namespace kan
