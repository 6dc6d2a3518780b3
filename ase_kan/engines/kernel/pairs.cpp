// Energies and forces of listed pairs. Compiled once per instruction set, each in a namespace of its own (ISA).
//
// Only about a fifth of the listed pairs are within the cutoff. So the squared distances of those are packed densely,
// table by table; the tables are evaluated on the packed numbers; and a second pass over the same pairs unpacks the
// results and adds up the forces. A row holds the coefficients of a quintic in t = u - row (pairs.hpp):
//     E = c0 + c1 t + ... + c5 t^5        f = -(dE/dr) / r = -2 du/d(r^2) dE/dt        F_i = f (r_i - r_j) = -F_j
#include "pairs.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace kan {
namespace ISA {
namespace {

#include "vectors.hpp"

// Replace n packed r^2 by f; energies go to `e` if it is given.
void evaluate(const Table& table, double* packed, double* e, std::size_t n, Sums& sums) {
    if (n == 0) return;
    for (std::size_t k = n; k % LANES; ++k) packed[k] = packed[0];  // fill up with something harmless
    const Vec zero = all(0.0), last = all(table.n_rows - 1.0);
    Vec energy = zero, shortest = all(packed[0]);
    const std::size_t breaks = table.breaks, gaps = table.n_gaps;
    for (std::size_t k = 0; k < n; k += LANES) {
        const Vec x = load(packed + k);
        shortest = smaller(shortest, x);
        unsigned below = less(x, all(table.low2)), above = less(all(table.high2), x);
        Vec u = table.slope * (x - table.start);
        for (std::size_t b = 0; b < breaks; ++b) u += table.change[b] * larger(x - table.at[b], zero);
        const Vec row = larger(smaller(truncated(u), last), zero);
        const Vec t = u - row;
        unsigned inside = 0;
        for (std::size_t g = 0; g < gaps; ++g) inside |= less(x, all(table.gaps[2 * g + 1])) & ~less(x, all(table.gaps[2 * g]));
        Vec c[7];
        load_rows(table.rows, row, c);
        Vec p = c[5] * t + c[4], d = c[5];
        d = d * t + p, p = p * t + c[3];
        d = d * t + p, p = p * t + c[2];
        d = d * t + p, p = p * t + c[1];
        d = d * t + p, p = p * t + c[0];
        store(packed + k, d * c[6]);
        if (e) store(e + k, p);
        if (n - k < LANES) {
            const unsigned valid = (1u << (n - k)) - 1;
            below &= valid, above &= valid, inside &= valid;
            p = where(valid, p);
        }
        energy += p;
        sums.below += count(below), sums.above += count(above);
        if (inside) sums.inside += count(inside);
    }
    sums.energy += sum(energy);
    const Lanes least_of(shortest);
    double least = least_of[0];
    for (int l = 1; l < LANES; ++l) least = least_of[l] < least ? least_of[l] : least;
    sums.shortest2 = least < sums.shortest2 ? least : sums.shortest2;
    sums.inner |= least < table.start;
}

template <bool ONE, bool PER_ATOM>
void list_pairs(const View& s, const ListView& list, const Scratch& scratch, Sums& sums) {
    const int n_elements = ONE ? 1 : s.n_elements;
    const std::size_t n_tables = ONE ? 1 : s.n_tables;
    std::size_t* const filled = scratch.filled;
    double *const packed = scratch.packed, *const energies = scratch.energies;
    const Vec cutoff2 = all(s.tables[0].cutoff2);
    for (std::size_t number = 0; number < list.size; ++number) {
        const Entry entry = list.entries[number];
        const double* shift = &s.shifts[3 * entry.shift];
        const std::size_t first = static_cast<std::size_t>(entry.i) * HALF;
        unsigned valid[HALF], later[HALF];
        Vec xi[HALF], yi[HALF], zi[HALF], fx[HALF], fy[HALF], fz[HALF];
        for (int a = 0; a < HALF; ++a) {
            xi[a] = all(s.x[first + a] + shift[0]), yi[a] = all(s.y[first + a] + shift[1]);
            zi[a] = all(s.z[first + a] + shift[2]);
            fx[a] = fy[a] = fz[a] = all(0.0);
            valid[a] = s.element[first + a] == NO_ELEMENT ? 0u : 0xffu;
            later[a] = (2u << ((first + a) % LANES)) - 1;  // itself and the atoms before it
        }
        for (std::uint32_t begin = entry.begin; begin < entry.end; begin += CHUNK) {
            const std::uint32_t end = entry.end - begin < CHUNK ? entry.end : begin + CHUNK;
            for (std::size_t kind = 0; kind < n_tables; ++kind) filled[kind] = 0;
            std::uint8_t* mask = scratch.masks;
            double* to = packed;
            for (std::uint32_t k = begin; k < end; ++k) {
                const std::size_t j = list.j[k];
                const Vec xj = load(&s.x[j * LANES]), yj = load(&s.y[j * LANES]), zj = load(&s.z[j * LANES]);
                const unsigned own = entry.shift == 0 && j == first / LANES ? 0xffu : 0u;
                for (int a = 0; a < HALF; ++a) {
                    const Vec dx = xi[a] - xj, dy = yi[a] - yj, dz = zi[a] - zj;
                    const Vec r2 = dx * dx + dy * dy + dz * dz;
                    const unsigned allowed = valid[a] & ~(own & later[a]);
                    if (ONE) {
                        const unsigned near = less(r2, cutoff2) & allowed;
                        pack(to, r2, near);
                        to += count(near);
                        *mask++ = static_cast<std::uint8_t>(near);
                        continue;
                    }
                    for (int b = 0; b < n_elements; ++b) {
                        const std::size_t kind = allowed ? s.table_of[s.element[first + a] * n_elements + b] : 0;
                        const unsigned near = less(r2, all(s.tables[kind].cutoff2)) & allowed &
                                              s.element_mask[j * n_elements + b];
                        pack(packed + kind * CAPACITY + filled[kind], r2, near);
                        filled[kind] += count(near);
                        *mask++ = static_cast<std::uint8_t>(near);
                    }
                }
            }
            if (ONE) filled[0] = to - packed;
            for (std::size_t kind = 0; kind < n_tables; ++kind) {
                double* at = packed + kind * CAPACITY;
                evaluate(s.tables[kind], at, PER_ATOM ? energies + kind * CAPACITY : nullptr, filled[kind], sums);
                filled[kind] = 0;
            }
            mask = scratch.masks;
            const double* from = packed;
            for (std::uint32_t k = begin; k < end; ++k) {
                const std::size_t j = list.j[k];
                unsigned any = 0;
                for (int m = 0; m < HALF * n_elements; ++m) any |= mask[m];
                if (!any) {
                    mask += HALF * n_elements;
                    continue;
                }
                const Vec xj = load(&s.x[j * LANES]), yj = load(&s.y[j * LANES]), zj = load(&s.z[j * LANES]);
                Vec gx = load(&sums.fx[j * LANES]), gy = load(&sums.fy[j * LANES]), gz = load(&sums.fz[j * LANES]);
                for (int a = 0; a < HALF; ++a) {
                    Vec f = all(0.0), e = all(0.0);
                    if (ONE) {
                        f = unpack(from, *mask);
                        if (PER_ATOM) e = unpack(energies + (from - packed), *mask);
                        from += count(*mask++);
                    }
                    for (int b = 0; !ONE && b < n_elements; ++b, ++mask) {
                        if (!*mask) continue;
                        const std::size_t kind = s.table_of[s.element[first + a] * n_elements + b];
                        f += unpack(packed + kind * CAPACITY + filled[kind], *mask);
                        if (PER_ATOM) e += unpack(energies + kind * CAPACITY + filled[kind], *mask);
                        filled[kind] += count(*mask);
                    }
                    const Vec dx = xi[a] - xj, dy = yi[a] - yj, dz = zi[a] - zj;
                    const Vec px = f * dx, py = f * dy, pz = f * dz;
                    fx[a] += px, fy[a] += py, fz[a] += pz;
                    gx -= px, gy -= py, gz -= pz;
                    if (PER_ATOM) {  // half of each pair to each atom
                        const Vec w[6] = {px * dx, py * dy, pz * dz, py * dz, px * dz, px * dy};
                        sums.energies[first + a] += sum(e) / 2;
                        const Lanes es(e);
                        for (int l = 0; l < LANES; ++l) sums.energies[j * LANES + l] += es[l] / 2;
                        for (int v = 0; v < 6; ++v) {
                            sums.virials[6 * (first + a) + v] += sum(w[v]) / 2;
                            const Lanes ws(w[v]);
                            for (int l = 0; l < LANES; ++l) sums.virials[6 * (j * LANES + l) + v] += ws[l] / 2;
                        }
                    }
                }
                store(&sums.fx[j * LANES], gx), store(&sums.fy[j * LANES], gy), store(&sums.fz[j * LANES], gz);
            }
        }
        for (int a = 0; a < HALF; ++a) {
            const double f[3] = {sum(fx[a]), sum(fy[a]), sum(fz[a])};
            sums.fx[first + a] += f[0], sums.fy[first + a] += f[1], sums.fz[first + a] += f[2];
            for (int d = 0; d < 3; ++d) sums.shift_force[3 * entry.shift + d] += f[d];
        }
    }
}

void sum_pairs(const View& s, const ListView& list, bool per_atom, const Scratch& scratch, Sums& sums) {
    if (s.n_elements == 1 && per_atom)
        list_pairs<true, true>(s, list, scratch, sums);
    else if (s.n_elements == 1)
        list_pairs<true, false>(s, list, scratch, sums);
    else if (per_atom)
        list_pairs<false, true>(s, list, scratch, sums);
    else
        list_pairs<false, false>(s, list, scratch, sums);
}

void prune(const View& s, const ListView& from, double reach2, Entry* entries, std::int32_t* to, std::size_t* n_entries,
           std::size_t* n_j) {
    const Vec limit = all(reach2);
    std::size_t kept = 0;
    std::uint32_t size = 0;
    for (std::size_t number = 0; number < from.size; ++number) {
        const Entry entry = from.entries[number];
        const double* shift = &s.shifts[3 * entry.shift];
        const std::size_t first = static_cast<std::size_t>(entry.i) * HALF;
        Vec xi[HALF], yi[HALF], zi[HALF];
        for (int a = 0; a < HALF; ++a) {
            xi[a] = all(s.x[first + a] + shift[0]), yi[a] = all(s.y[first + a] + shift[1]);
            zi[a] = all(s.z[first + a] + shift[2]);
        }
        const std::uint32_t begin = size;
        for (std::uint32_t k = entry.begin; k < entry.end; ++k) {
            const std::size_t j = from.j[k];
            const Vec xj = load(&s.x[j * LANES]), yj = load(&s.y[j * LANES]), zj = load(&s.z[j * LANES]);
            Vec nearest = limit;
            for (int a = 0; a < HALF; ++a) {
                const Vec dx = xi[a] - xj, dy = yi[a] - yj, dz = zi[a] - zj;
                nearest = smaller(nearest, dx * dx + dy * dy + dz * dz);
            }
            to[size] = static_cast<std::int32_t>(j);
            size += less(nearest, limit) ? 1 : 0;
        }
        if (size > begin) entries[kept++] = {entry.i, entry.shift, begin, size};
    }
    *n_entries = kept, *n_j = size;
}

}  // namespace

const PairKernel kernel = {prune, sum_pairs};

}  // namespace ISA
}  // namespace kan
