// The pairs outside their data, one by one: for those who ask which atoms they are.
#include <cmath>

#include "system.hpp"

namespace kan {

Outside find_outside(const System& s) {
    Outside found;
    for (const Block& block : s.blocks)
        for (const Entry& entry : block.near.entries)
            for (std::uint32_t k = entry.begin; k < entry.end; ++k)
                for (int pair = 0; pair < HALF * LANES; ++pair) {
                    const std::size_t a = static_cast<std::size_t>(entry.i) * HALF + pair / LANES;
                    const std::size_t b = static_cast<std::size_t>(block.near.j[k]) * LANES + pair % LANES;
                    if (s.atom[a] < 0 || s.atom[b] < 0) continue;
                    // Of a cluster with itself, each pair once.
                    if (entry.shift == 0 && a / LANES == b / LANES && b <= a) continue;
                    const double* shift = &s.shifts[3 * entry.shift];
                    const double x = s.x[a] + shift[0] - s.x[b], y = s.y[a] + shift[1] - s.y[b];
                    const double z = s.z[a] + shift[2] - s.z[b], r2 = x * x + y * y + z * z;
                    const Table& table = s.tables[s.table_of[s.element[a] * s.n_elements + s.element[b]]];
                    bool outside = r2 < table.low2 || r2 > table.high2;
                    for (std::size_t g = 0; g < table.n_gaps; ++g)
                        outside |= r2 >= table.gaps[2 * g] && r2 < table.gaps[2 * g + 1];
                    if (r2 < table.cutoff2 && outside) {
                        found.i.push_back(s.atom[a]), found.j.push_back(s.atom[b]);
                        found.distance.push_back(std::sqrt(r2));
                    }
                }
    return found;
}

}  // namespace kan
