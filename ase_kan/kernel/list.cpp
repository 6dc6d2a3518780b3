// The list of cluster pairs.
//
// Every pair of an atom i and an image of j within reach is in it once: translation zero with j >= i (the kernel masks
// the other half of a cluster with itself), and one of every two opposite translations with all j.
#include "system.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

namespace kan {
namespace {

struct Box {
    double low[3], high[3];
    void clear() {
        for (int d = 0; d < 3; ++d) {
            low[d] = std::numeric_limits<double>::infinity();
            high[d] = -low[d];
        }
    }
    void add(const double* p) {
        for (int d = 0; d < 3; ++d) {
            low[d] = std::min(low[d], p[d]);
            high[d] = std::max(high[d], p[d]);
        }
    }
};

inline double between(double low, double high, double other_low, double other_high) {
    return std::max(0.0, std::max(other_low - high, low - other_high));
}

constexpr std::size_t BLOCK = 1024;  // half clusters

struct Columns {
    double low[2], inverse[2], side[2];
    int n[2];
    std::vector<std::int32_t> first;  // first cluster of each column, and one more
    // From a box to the edge of a column; a little less, for atoms that rounding put on the other side.
    double gap(int d, int column, const Box& b) const {
        const double start = low[d] + column * side[d];
        return std::max(0.0, between(start, start + side[d], b.low[d], b.high[d]) - 1e-9 * side[d]);
    }
    int index(int d, double value) const {
        return std::clamp(static_cast<int>((value - low[d]) * inverse[d]), 0, n[d] - 1);
    }
};

// Square columns that hold eight atoms in about a cube, but not many more columns than atoms.
Columns choose_columns(const Box& all, std::size_t n, double reach) {
    Columns columns;
    double extent[3], volume = 1.0;
    for (int d = 0; d < 3; ++d) {
        extent[d] = all.high[d] - all.low[d];
        volume *= std::max(extent[d], 0.25 * reach);
    }
    double side = std::cbrt(LANES * volume / static_cast<double>(n));
    for (;; side *= 1.3) {
        const double nx = std::floor(extent[0] / side) + 1, ny = std::floor(extent[1] / side) + 1;
        if (nx * ny <= static_cast<double>(n) + 16) break;
    }
    for (int d = 0; d < 2; ++d) {
        columns.n[d] = static_cast<int>(extent[d] / side) + 1;
        columns.low[d] = all.low[d];
        columns.side[d] = extent[d] * (1 + 1e-12) / columns.n[d];
        columns.inverse[d] = extent[d] > 0 ? 1 / columns.side[d] : 0.0;
    }
    return columns;
}

// Lattice translations that may bring the box within reach of itself, one of each opposite two, zero first.
std::vector<double> translations(const double* box, const double* inverse, const bool* periodic, double reach) {
    int n[3];
    for (int d = 0; d < 3; ++d) {
        const double height = 1 / std::sqrt(inverse[d] * inverse[d] + inverse[3 + d] * inverse[3 + d] +
                                            inverse[6 + d] * inverse[6 + d]);
        n[d] = periodic[d] ? static_cast<int>(std::ceil(reach / height)) : 0;
    }
    std::vector<double> shifts(3, 0.0);
    for (int a = 0; a <= n[0]; ++a)
        for (int b = a ? -n[1] : 0; b <= n[1]; ++b)
            for (int c = a || b ? -n[2] : 1; c <= n[2]; ++c)
                for (int d = 0; d < 3; ++d) shifts.push_back(a * box[d] + b * box[3 + d] + c * box[6 + d]);
    return shifts;
}

}  // namespace

void build_list(System& s, const double* positions, const std::uint8_t* element, std::size_t n, const double* box,
                const double* inverse, const bool* periodic, double reach, int threads) {
    // 1. Wrap along the periodic vectors; again wherever it is needed, which costs less than to keep it.
    std::int32_t turns[3];
    const auto wrapped = [&](std::size_t i) {
        const double* p = positions + 3 * i;
        for (int d = 0; d < 3; ++d)
            turns[d] = !periodic[d] ? 0 : static_cast<std::int32_t>(std::floor(
                p[0] * inverse[d] + p[1] * inverse[3 + d] + p[2] * inverse[6 + d]));
        return Wrapped(p, turns, box);
    };
    Box all;
    all.clear();
    for (std::size_t i = 0; i < n; ++i) all.add(wrapped(i).at);

    // 2. Sort into columns, by z within a column.
    Columns columns = choose_columns(all, n, reach);
    const std::size_t n_columns = static_cast<std::size_t>(columns.n[0]) * columns.n[1];
    std::vector<std::int32_t> column(n), start(n_columns + 1, 0), order(n);
    for (std::size_t i = 0; i < n; ++i) {
        const Wrapped p = wrapped(i);
        column[i] = columns.index(0, p.at[0]) * columns.n[1] + columns.index(1, p.at[1]);
        ++start[column[i] + 1];
    }
    std::partial_sum(start.begin(), start.end(), start.begin());
    {
        std::vector<std::int32_t> next(start.begin(), start.end() - 1);
        for (std::size_t i = 0; i < n; ++i) order[next[column[i]]++] = static_cast<std::int32_t>(i);
    }
    columns.first.assign(n_columns + 1, 0);
    std::vector<std::pair<double, std::int32_t>> keys;
    for (std::size_t c = 0; c < n_columns; ++c) {
        keys.clear();
        for (std::int32_t k = start[c]; k < start[c + 1]; ++k) keys.emplace_back(wrapped(order[k]).at[2], order[k]);
        std::sort(keys.begin(), keys.end());
        for (std::size_t k = 0; k < keys.size(); ++k) order[start[c] + k] = keys[k].second;
        columns.first[c + 1] = columns.first[c] + (start[c + 1] - start[c] + LANES - 1) / LANES;
    }

    // 3. Clusters.
    s.n_atoms = n;
    s.n_clusters = columns.first[n_columns];
    const std::size_t lanes = s.n_clusters * LANES;
    s.atom.assign(lanes, -1);
    s.element.assign(lanes, NO_ELEMENT);
    s.element_mask.assign(s.n_clusters * s.n_elements, 0);
    s.x.assign(lanes, FAR), s.y.assign(lanes, FAR), s.z.assign(lanes, FAR);
    s.turns.assign(3 * lanes, 0), s.built.assign(3 * lanes, 0.0), s.pruned.assign(3 * lanes, 0.0f);
    std::vector<Box> half(2 * s.n_clusters);
    std::vector<double> z_low(s.n_clusters), z_high(s.n_clusters);
    for (auto& b : half) b.clear();
    for (std::size_t c = 0; c < n_columns; ++c) {
        std::size_t lane = static_cast<std::size_t>(columns.first[c]) * LANES;
        for (std::int32_t k = start[c]; k < start[c + 1]; ++k, ++lane) {
            const std::size_t i = order[k];
            s.atom[lane] = static_cast<std::int32_t>(i);
            s.element[lane] = element[i];
            s.element_mask[lane / LANES * s.n_elements + element[i]] |= 1u << (lane % LANES);
            const Wrapped p = wrapped(i);
            for (int d = 0; d < 3; ++d) {
                s.turns[3 * lane + d] = turns[d];
                s.built[3 * lane + d] = positions[3 * i + d];
            }
            s.x[lane] = p.at[0], s.y[lane] = p.at[1], s.z[lane] = p.at[2];
            if (lane % LANES == 0) z_low[lane / LANES] = p.at[2];
            z_high[lane / LANES] = p.at[2];
            half[lane / HALF].add(p.at);
        }
    }

    // 4. Search. Blocks of consecutive half clusters, so small that what a vector reserves in vain is little.
    s.shifts = translations(box, inverse, periodic, reach);
    const std::size_t n_shifts = s.shifts.size() / 3, n_half = 2 * s.n_clusters;
    const std::size_t n_blocks = std::max<std::size_t>(n_half / BLOCK, std::min<std::size_t>(8 * threads, n_half));
    s.blocks.resize(n_blocks);
    const double reach2 = reach * reach;
    auto search = [&](std::size_t number, List& list) {
        list.clear();
        for (std::size_t i = number * n_half / n_blocks; i < (number + 1) * n_half / n_blocks; ++i) {
            if (half[i].low[0] > half[i].high[0]) continue;  // no atoms
            for (std::size_t shift = 0; shift < n_shifts; ++shift) {
                Box b = half[i];
                double apart = 0.0;
                for (int d = 0; d < 3; ++d) {
                    b.low[d] += s.shifts[3 * shift + d], b.high[d] += s.shifts[3 * shift + d];
                    const double g = between(b.low[d], b.high[d], all.low[d], all.high[d]);
                    apart += g * g;
                }
                if (apart >= reach2) continue;
                const auto begin = static_cast<std::uint32_t>(list.j.size());
                const int x0 = columns.index(0, b.low[0] - reach), x1 = columns.index(0, b.high[0] + reach);
                const int y0 = columns.index(1, b.low[1] - reach), y1 = columns.index(1, b.high[1] + reach);
                for (int cx = x0; cx <= x1; ++cx) {
                    const double gx = columns.gap(0, cx, b);
                    for (int cy = y0; cy <= y1; ++cy) {
                        const double gy = columns.gap(1, cy, b), left2 = reach2 - gx * gx - gy * gy;
                        if (left2 <= 0.0) continue;
                        // Of the column, the clusters that reach into this stretch of z, in whose order they are.
                        const double gz = std::sqrt(left2), from = b.low[2] - gz, to = b.high[2] + gz;
                        const int c = cx * columns.n[1] + cy;
                        std::int32_t j = columns.first[c];
                        const std::int32_t end = columns.first[c + 1];
                        if (shift == 0) j = std::max(j, static_cast<std::int32_t>(i / 2));
                        if (j >= end) continue;
                        const double part = (from - z_low[j]) / (z_high[end - 1] - z_low[j]);
                        j += std::clamp(static_cast<std::int32_t>(part * (end - j)), 0, end - j);
                        const std::int32_t lowest = shift == 0 ? std::max(columns.first[c], static_cast<std::int32_t>(i / 2)) : columns.first[c];
                        while (j > lowest && z_high[j - 1] >= from) --j;
                        while (j < end && z_high[j] < from) ++j;
                        for (; j < end && z_low[j] <= to; ++j) list.j.push_back(j);
                    }
                }
                const auto end = static_cast<std::uint32_t>(list.j.size());
                if (end > begin)
                    list.entries.push_back({static_cast<std::int32_t>(i), static_cast<std::int32_t>(shift), begin, end});
            }
        }
        s.blocks[number].all = list;  // a copy, of just its size or into the memory of the last one
    };
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; ++t) {
        auto work = [&, t] {
            List list;
            for (std::size_t number = t; number < n_blocks; number += threads) search(number, list);
        };
        if (t + 1 < threads)
            workers.emplace_back(work);
        else
            work();
    }
    for (auto& worker : workers) worker.join();
}

}  // namespace kan
