// Energies and forces of listed pairs, and the pruning of lists. Compiled once per instruction set, each in a
// namespace of its own (ISA).
//
// A row of a table holds the coefficients of a quintic in t = u - row (pairs.hpp), with u a map of r^2:
//     E = c0 + c1 t + ... + c5 t^5        f = -(dE/dr) / r = -2 du/d(r^2) dE/dt        F_i = f (r_i - r_j) = -F_j
#include "pairs.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace kan {
namespace ISA {
namespace {

#include "vectors.hpp"
#include "chunks.hpp"

// Replace n packed r^2 by f; energies go to `e` if it is given.
void evaluate(const Table& table, double* packed, double* e, std::size_t n, Sums& sums) {
    if (n == 0) return;
    for (std::size_t k = n; k % LANES; ++k) packed[k] = packed[0];  // fill up with something harmless
    Vec energy = all(0.0), shortest = all(packed[0]);
    for (std::size_t k = 0; k < n; k += LANES) {
        const Vec x = load(packed + k);
        shortest = smaller(shortest, x);
        Beyond beyond(table, x);
        Vec t, c[7], p, d;
        const Vec row = row_of(table, x, t);
        load_rows(table.rows, ROW, row, c);
        quintic(c, t, p, d);
        store(packed + k, d * c[6]);
        if (e) store(e + k, p);
        if (n - k < LANES) {
            const unsigned valid = (1u << (n - k)) - 1;
            beyond.keep(valid);
            p = where(valid, p);
        }
        energy += p;
        beyond.add_to(sums);
    }
    sums.energy += sum(energy);
    const double shortest2 = least(shortest);
    sums.shortest2 = shortest2 < sums.shortest2 ? shortest2 : sums.shortest2;
    sums.inner |= shortest2 < table.start;
}

template <bool ONE, bool PER_ATOM>
void list_pairs(const View& s, const ListView& list, const Scratch& scratch, Sums& sums) {
    const int n_elements = ONE ? 1 : s.n_elements;
    const std::size_t n_tables = ONE ? 1 : s.n_tables;
    std::size_t* const filled = scratch.filled;
    double *const packed = scratch.packed, *const energies = scratch.energies;
    for (std::size_t number = 0; number < list.size; ++number) {
        const Entry entry = list.entries[number];
        const Half i(s, entry);
        HalfForces forces;
        for (std::uint32_t begin = entry.begin; begin < entry.end; begin += CHUNK) {
            const std::uint32_t end = entry.end - begin < CHUNK ? entry.end : begin + CHUNK;
            pack_pairs<ONE>(s, i, list.j + begin, list.j + end, packed, filled, scratch.masks);
            for (std::size_t kind = 0; kind < n_tables; ++kind) {
                double* at = packed + kind * CAPACITY;
                evaluate(s.tables[kind], at, PER_ATOM ? energies + kind * CAPACITY : nullptr, filled[kind], sums);
                filled[kind] = 0;
            }
            const std::uint8_t* mask = scratch.masks;
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
                        const std::size_t kind = s.table_of[element_of(s, i, a) * n_elements + b];
                        f += unpack(packed + kind * CAPACITY + filled[kind], *mask);
                        if (PER_ATOM) e += unpack(energies + kind * CAPACITY + filled[kind], *mask);
                        filled[kind] += count(*mask);
                    }
                    const Vec dx = i.x[a] - xj, dy = i.y[a] - yj, dz = i.z[a] - zj;
                    const Vec px = f * dx, py = f * dy, pz = f * dz;
                    forces.x[a] += px, forces.y[a] += py, forces.z[a] += pz;
                    gx -= px, gy -= py, gz -= pz;
                    if (PER_ATOM) {
                        const Vec w[6] = {px * dx, py * dy, pz * dz, py * dz, px * dz, px * dy};
                        add_per_atom(sums, i.first + a, j, e, w);
                    }
                }
                store(&sums.fx[j * LANES], gx), store(&sums.fy[j * LANES], gy), store(&sums.fz[j * LANES], gz);
            }
        }
        forces.add_to(sums, entry);
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
