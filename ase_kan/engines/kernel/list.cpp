// The list of cluster pairs.
//
// Every pair of an atom i and an image of j within reach is in it once: translation zero with j >= i (the kernel masks
// the other half of a cluster with itself), and one of every two opposite translations with all j.
#include "system.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "threads.hpp"

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
    // Clamped before it is made an integer, which a far number has no room in.
    int index(int d, double value) const {
        return static_cast<int>(std::clamp((value - low[d]) * inverse[d], 0.0, n[d] - 1.0));
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
        columns.inverse[d] = columns.n[d] > 1 ? 1 / columns.side[d] : 0.0;
    }
    return columns;
}

std::string text(const char* format, double a, double b = 0.0, double c = 0.0) {
    char line[300];
    std::snprintf(line, sizeof line, format, a, b, c);
    return line;
}

[[noreturn]] void too_many(double cluster_pairs, double reach) {
    throw std::invalid_argument(text(
        "about %.2g pairs of atoms are within cutoff and skin (%g A), whose list takes %.2g GB: too much; use a smaller "
        "cutoff or fewer atoms", cluster_pairs * HALF * LANES, reach, cluster_pairs * 2 * sizeof(std::int32_t) / 1e9));
}

// Lattice translations that bring the box around the atoms within reach of itself, one of each opposite two, zero
// first.
std::vector<double> translations(const Box& all, const double* box, const double* inverse, const bool* periodic,
                                 double reach) {
    double most[3], images = 1.0;
    for (int d = 0; d < 3; ++d) {
        const double height = 1 / std::sqrt(inverse[d] * inverse[d] + inverse[3 + d] * inverse[3 + d] +
                                            inverse[6 + d] * inverse[6 + d]);
        // Atoms are less than one cell apart, but for the rounding of their wrapping.
        most[d] = periodic[d] ? std::floor(reach / height + 1 + 1e-6) : 0.0;
        images *= 2 * most[d] + 1;
    }
    if (!(images / 2 < MOST_IMAGES))
        throw std::invalid_argument(text(
            "%.1g images of the cell are within cutoff and skin (%g A), more than %.0e: the cell is too small or too "
            "flat", images / 2, reach, MOST_IMAGES));
    const int n[3] = {static_cast<int>(most[0]), static_cast<int>(most[1]), static_cast<int>(most[2])};
    std::vector<double> shifts(3, 0.0);
    for (int a = 0; a <= n[0]; ++a)
        for (int b = a ? -n[1] : 0; b <= n[1]; ++b)
            for (int c = a || b ? -n[2] : 1; c <= n[2]; ++c) {
                double shift[3], apart = 0.0;
                for (int d = 0; d < 3; ++d) {
                    shift[d] = a * box[d] + b * box[3 + d] + c * box[6 + d];
                    const double g = between(all.low[d] + shift[d], all.high[d] + shift[d], all.low[d], all.high[d]);
                    apart += g * g;
                }
                if (apart < reach * reach) shifts.insert(shifts.end(), shift, shift + 3);
            }
    return shifts;
}

}  // namespace

void build_list(System& s, const double* positions, const std::uint8_t* element, std::size_t n, const double* box,
                const double* inverse, const bool* periodic, double reach, int threads, void (*poll)()) {
    // 1. Wrap along the periodic vectors, to within half of them from the first atom, which stays or comes near the
    // origin: atoms close to each other in a huge cell keep their digits. Again wherever it is needed, which costs
    // less than to keep it.
    const auto fraction = [&](const double* p, int d) {
        return p[0] * inverse[d] + p[1] * inverse[3 + d] + p[2] * inverse[6 + d];
    };
    for (std::size_t i = 0; i < n; ++i)
        for (int d = 0; d < 3; ++d) {
            const double* p = positions + 3 * i;
            if (std::abs(p[d]) <= FARTHEST && (!periodic[d] || std::abs(fraction(p, d)) <= FARTHEST)) continue;
            throw std::invalid_argument(text("positions must be finite, within %.0e A and within %.0e periodic cell "
                                             "vectors of the origin: ", FARTHEST, FARTHEST) +
                                        "atom " + std::to_string(i) +
                                        text(" is at [%.6g, %.6g, %.6g]", p[0], p[1], p[2]));
        }
    double origin[3], base[3];
    for (int d = 0; d < 3; ++d) base[d] = std::round(fraction(positions, d)), origin[d] = fraction(positions, d) - 0.5;
    std::int32_t turns[3];
    const auto wrapped = [&](std::size_t i) {
        const double* p = positions + 3 * i;
        for (int d = 0; d < 3; ++d)
            turns[d] = periodic[d] ? static_cast<std::int32_t>(std::floor(fraction(p, d) - origin[d]) + base[d]) : 0;
        return Wrapped(p, turns, box);
    };
    Box all;
    all.clear();
    for (std::size_t i = 0; i < n; ++i) all.add(wrapped(i).at);
    s.shifts = translations(all, box, inverse, periodic, reach);
    poll();

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

    poll();

    // 3. Clusters.
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

    poll();

    // 4. Search: the clusters j that half cluster i meets under a translation, as stretches of one column each.
    const std::size_t n_shifts = s.shifts.size() / 3, n_half = 2 * s.n_clusters;
    const double reach2 = reach * reach;
    const auto meet = [&](std::size_t i, std::size_t shift, const auto& take) {
        Box b = half[i];
        double apart = 0.0;
        for (int d = 0; d < 3; ++d) {
            b.low[d] += s.shifts[3 * shift + d], b.high[d] += s.shifts[3 * shift + d];
            const double g = between(b.low[d], b.high[d], all.low[d], all.high[d]);
            apart += g * g;
        }
        if (apart >= reach2) return;
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
                std::int32_t lowest = columns.first[c];
                const std::int32_t end = columns.first[c + 1];
                if (shift == 0) lowest = std::max(lowest, static_cast<std::int32_t>(i / 2));
                if (lowest >= end) continue;
                // A guess, and from there to the first.
                const double span = z_high[end - 1] - z_low[lowest];
                const double part = span > 0.0 ? std::clamp((from - z_low[lowest]) / span, 0.0, 1.0) : 0.0;
                std::int32_t j = lowest + static_cast<std::int32_t>(part * (end - lowest));
                while (j > lowest && z_high[j - 1] >= from) --j;
                while (j < end && z_high[j] < from) ++j;
                for (; j < end && z_low[j] <= to; ++j) take(j);
            }
        }
    };
    const auto empty = [&](std::size_t i) { return half[i].low[0] > half[i].high[0]; };

    // Only a list that could be too long is estimated first, from about a hundred of its half clusters.
    if (static_cast<double>(n_half) * n_shifts * s.n_clusters > MOST_LISTED) {
        const std::size_t step = n_half / 100 + 1;
        double met = 0.0;
        for (std::size_t i = 0; i < n_half; i += step) {
            poll();
            for (std::size_t shift = 0; shift < n_shifts && !empty(i); ++shift) meet(i, shift, [&](std::int32_t) { ++met; });
        }
        met *= static_cast<double>(step);
        if (met > MOST_LISTED) too_many(met, reach);
    }

    // Blocks of consecutive half clusters, so small that what a vector reserves in vain is little.
    const std::size_t n_blocks = std::max<std::size_t>(n_half / BLOCK, std::min<std::size_t>(8 * threads, n_half));
    s.blocks.resize(n_blocks);
    std::atomic<std::size_t> listed{0};
    on_threads(threads, [&](int t) {
        List list;
        for (std::size_t number = t; number < n_blocks; number += threads) {
            if (t == 0) poll();
            list.clear();
            for (std::size_t i = number * n_half / n_blocks; i < (number + 1) * n_half / n_blocks; ++i) {
                for (std::size_t shift = 0; shift < n_shifts && !empty(i); ++shift) {
                    const auto begin = static_cast<std::uint32_t>(list.j.size());
                    meet(i, shift, [&](std::int32_t j) { list.j.push_back(j); });
                    const auto end = static_cast<std::uint32_t>(list.j.size());
                    if (end > begin)
                        list.entries.push_back({static_cast<std::int32_t>(i), static_cast<std::int32_t>(shift), begin, end});
                }
                // Should the estimate have missed a dense part.
                if (list.j.size() > 2 * MOST_LISTED) too_many(static_cast<double>(list.j.size()), reach);
            }
            s.blocks[number].all = list;  // a copy, of just its size or into the memory of the last one
            if ((listed += list.j.size()) > 2 * MOST_LISTED) too_many(static_cast<double>(listed), reach);
        }
    });
}

}  // namespace kan
