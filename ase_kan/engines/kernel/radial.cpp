// See radial.hpp. The pairs are those of the pruned list, with the positions of the last calculation.
#include "radial.hpp"

#include <algorithm>
#include <cmath>

namespace kan {

namespace {

// Between which nodes, and where there: 0 at the lower one.
struct Place {
    std::size_t node;
    double part;
    Place(double r, const RadialGrid& grid, std::size_t nodes) {
        const double at = (r - grid.start) / (grid.end - grid.start) * static_cast<double>(nodes - 1);
        node = static_cast<std::size_t>(std::clamp(at, 0.0, static_cast<double>(nodes - 2)));
        part = at - static_cast<double>(node);  // straight on beyond the ends
    }
};

void add_pair(const RadialGrid& grid, const RadialSums& to, std::size_t i, std::size_t j, const double d[3], double r) {
    const Place level(r, grid, grid.n_grades);
    const double grade =
        std::max(0.0, grid.grades[level.node] * (1 - level.part) + grid.grades[level.node + 1] * level.part);
    to.grades[i] = std::max(to.grades[i], grade);
    to.grades[j] = std::max(to.grades[j], grade);
    if (r < grid.floor) {
        to.lost[i] = to.lost[j] = 1;
        return;
    }
    const Place place(r, grid, grid.nodes);
    const std::size_t column = grid.first + place.node;
    const double weights[2] = {1 - place.part, place.part};
    for (int k = 0; k < 2; ++k) to.energy[column + k] += weights[k];
    if (to.forces)
        for (int x = 0; x < 3; ++x)
            for (int k = 0; k < 2; ++k) {
                const float pull = static_cast<float>(weights[k] * d[x] / r);
                to.forces[(3 * i + x) * to.columns + column + k] -= pull;
                to.forces[(3 * j + x) * to.columns + column + k] += pull;
            }
    static constexpr int first[6] = {0, 1, 2, 1, 0, 0}, second[6] = {0, 1, 2, 2, 2, 1};
    if (to.virial)
        for (int v = 0; v < 6; ++v)
            for (int k = 0; k < 2; ++k)
                to.virial[v * to.columns + column + k] -= weights[k] * d[first[v]] * d[second[v]] / r;
}

}  // namespace

void add_radial(const System& s, const std::vector<RadialGrid>& grids, const RadialSums& to) {
    for (const Block& block : s.blocks)
        for (const Entry& entry : block.near.entries) {
            const double* shift = &s.shifts[3 * entry.shift];
            for (std::uint32_t k = entry.begin; k < entry.end; ++k)
                for (int half = 0; half < HALF; ++half) {
                    const std::size_t a = static_cast<std::size_t>(entry.i) * HALF + half;
                    if (s.atom[a] < 0) continue;
                    for (int lane = 0; lane < LANES; ++lane) {
                        const std::size_t b = static_cast<std::size_t>(block.near.j[k]) * LANES + lane;
                        const double d[3] = {s.x[a] + shift[0] - s.x[b], s.y[a] + shift[1] - s.y[b],
                                             s.z[a] + shift[2] - s.z[b]};
                        const double r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
                        if (s.atom[b] < 0) continue;
                        // Of a cluster with itself, each pair once.
                        if (entry.shift == 0 && a / LANES == b / LANES && b <= a) continue;
                        const int table = s.table_of[s.element[a] * s.n_elements + s.element[b]];
                        if (r2 < s.tables[table].cutoff2)
                            add_pair(grids[table], to, s.atom[a], s.atom[b], d, std::sqrt(r2));
                    }
                }
        }
}

}  // namespace kan
