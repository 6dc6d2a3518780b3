// See radial.hpp. The pairs are those of the pruned list, with the positions of the last calculation.
#include "radial.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

namespace kan {

namespace {

// A grid with what each pair would have to work out again.
struct Scale {
    const RadialGrid& grid;
    double first, nearest;  // in 1/r: where the nodes begin, and beyond which nothing is known
    double nodes, grades;   // how many there are of each, per 1/r
    explicit Scale(const RadialGrid& g)
        : grid(g), first(1 / g.end), nearest(1 / g.floor), nodes(static_cast<double>(g.nodes - 1) / (1 / g.start - first)),
          grades(static_cast<double>(g.n_grades - 1) / (1 / g.start - first)) {}
};

// Between which nodes, and where there: 0 at the lower one; straight on beyond the ends.
struct Place {
    int node;
    double part;
    Place(double at, std::size_t nodes) {
        node = static_cast<int>(std::clamp(at, 0.0, static_cast<double>(nodes - 2)));
        part = at - node;
    }
};

template <bool FORCES>
void add_pair(const Scale& scale, const RadialSums& to, std::size_t i, std::size_t j, const double d[3],
              double inverse) {
    const RadialGrid& grid = scale.grid;
    const Place level((inverse - scale.first) * scale.grades, grid.n_grades);
    const double below = grid.grades[level.node], above = grid.grades[level.node + 1];
    const double grade = below + (above - below) * level.part;
    if (grade > to.grades[i]) to.grades[i] = grade;
    if (grade > to.grades[j]) to.grades[j] = grade;
    if (inverse > scale.nearest) {
        to.lost[i] = to.lost[j] = 1;
        return;
    }
    const Place place((inverse - scale.first) * scale.nodes, grid.nodes);
    const std::size_t column = grid.first + place.node, columns = to.columns;
    const double weights[2] = {1 - place.part, place.part};
    for (int k = 0; k < 2; ++k) to.energy[column + k] += weights[k];
    if constexpr (!FORCES) return;
    const double e[3] = {d[0] * inverse, d[1] * inverse, d[2] * inverse};
    const double six[6] = {e[0] * d[0], e[1] * d[1], e[2] * d[2], e[1] * d[2], e[0] * d[2], e[0] * d[1]};
    for (int k = 0; k < 2; ++k) {
        double* virial = to.virial + 6 * (column + k);
        for (int v = 0; v < 6; ++v) virial[v] -= weights[k] * six[v];
    }
    float *on_i = to.forces + 3 * i * columns + column, *on_j = to.forces + 3 * j * columns + column;
    for (int x = 0; x < 3; ++x, on_i += columns, on_j += columns)
        for (int k = 0; k < 2; ++k) {
            const float pull = static_cast<float>(weights[k] * e[x]);
            on_i[k] -= pull;
            on_j[k] += pull;
        }
}

// Pairs within reach, found without a branch each: whether one is, nothing can guess.
struct Found {
    static constexpr std::size_t CAPACITY = 256;
    std::uint32_t a[CAPACITY], b[CAPACITY];
    double x[CAPACITY], y[CAPACITY], z[CAPACITY], r2[CAPACITY];
    std::size_t count = 0;
};

template <bool FORCES>
void add_found(const System& s, const std::vector<Scale>& scales, const RadialSums& to, Found& found) {
    for (std::size_t n = 0; n < found.count; ++n) {
        const std::size_t a = found.a[n], b = found.b[n];
        const int table = s.table_of[s.element[a] * s.n_elements + s.element[b]];
        if (found.r2[n] >= s.tables[table].cutoff2) continue;
        const double d[3] = {FORCES ? found.x[n] : 0.0, FORCES ? found.y[n] : 0.0, FORCES ? found.z[n] : 0.0};
        add_pair<FORCES>(scales[table], to, s.atom[a], s.atom[b], d, 1 / std::sqrt(found.r2[n]));
    }
    found.count = 0;
}

template <bool FORCES>
void add_all(const System& s, const std::vector<Scale>& scales, const RadialSums& to) {
    double reach2 = 0.0;
    for (const Table& table : s.tables) reach2 = std::max(reach2, table.cutoff2);
    const auto found = std::make_unique<Found>();
    for (const Block& block : s.blocks)
        for (const Entry& entry : block.near.entries) {
            const double* shift = &s.shifts[3 * entry.shift];
            for (std::uint32_t k = entry.begin; k < entry.end; ++k) {
                const std::size_t first = static_cast<std::size_t>(block.near.j[k]) * LANES;
                if (found->count + HALF * LANES > Found::CAPACITY) add_found<FORCES>(s, scales, to, *found);
                for (int half = 0; half < HALF; ++half) {
                    const std::size_t a = static_cast<std::size_t>(entry.i) * HALF + half;
                    if (s.atom[a] < 0) continue;
                    // Of a cluster with itself, each pair counts once.
                    const std::size_t begin = entry.shift == 0 && a / LANES == first / LANES ? a + 1 - first : 0;
                    const double x = s.x[a] + shift[0], y = s.y[a] + shift[1], z = s.z[a] + shift[2];
                    double dx[LANES], dy[LANES], dz[LANES], r2[LANES];
                    for (int l = 0; l < LANES; ++l) {
                        dx[l] = x - s.x[first + l], dy[l] = y - s.y[first + l], dz[l] = z - s.z[first + l];
                        r2[l] = dx[l] * dx[l] + dy[l] * dy[l] + dz[l] * dz[l];
                    }
                    for (std::size_t l = begin; l < LANES; ++l) {
                        const std::size_t n = found->count;
                        found->a[n] = static_cast<std::uint32_t>(a), found->b[n] = static_cast<std::uint32_t>(first + l);
                        if constexpr (FORCES) found->x[n] = dx[l], found->y[n] = dy[l], found->z[n] = dz[l];
                        found->r2[n] = r2[l];
                        found->count += r2[l] < reach2;  // lanes without an atom are far away
                    }
                }
            }
        }
    add_found<FORCES>(s, scales, to, *found);
}

}  // namespace

void add_radial(const System& system, const std::vector<RadialGrid>& grids, const RadialSums& to) {
    const std::vector<Scale> scales(grids.begin(), grids.end());
    to.forces ? add_all<true>(system, scales, to) : add_all<false>(system, scales, to);
}

}  // namespace kan
