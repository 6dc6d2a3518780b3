// Densities, embedding energies and forces of listed pairs. Compiled once per instruction set, each in a namespace of
// its own (ISA).
//
// A row of a table holds quintics in t of phi and of the densities f that two elements give each other, with u a map of
// r. The first pass adds up the densities rho_i = sum_j f_ij, and keeps the slopes of all pairs within the cutoff; then
// come F and F' of each atom; the second pass adds up the forces
//     -(1/r) dE/dr = -(phi' + sum_c F'^c_i f'^c_ij + F'^c_j f'^c_ji) / r        F_i = that times (r_i - r_j) = -F_j
#include "pairs.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace kan {
namespace ISA {
namespace {

#include "vectors.hpp"
#include "chunks.hpp"

inline std::size_t rounded_up(std::size_t n) { return (n + LANES - 1) / LANES * LANES; }

// Evaluate a table at n packed r^2: -phi'/r to `kept`, then -f'/r of each density, and phi as well if it is asked for,
// each in a row of n numbers rounded up; f to `densities`, each in a row of CAPACITY. FUNCTIONS is 0 if any number.
template <int FUNCTIONS>
void evaluate(const Table& table, double* packed, std::size_t n, bool keep_phi, double* kept, double* densities,
              Sums& sums) {
    if (n == 0) return;
    const std::size_t functions = FUNCTIONS ? FUNCTIONS : table.functions, stride = functions * ROW;
    const std::size_t padded = rounded_up(n);
    for (std::size_t k = n; k < padded; ++k) packed[k] = packed[0];  // fill up with something harmless
    Vec energy = all(0.0), shortest = all(packed[0]);
    for (std::size_t k = 0; k < n; k += LANES) {
        const Vec r2 = load(packed + k), r = root(r2);
        shortest = smaller(shortest, r2);
        Vec t, c[7], p, d;
        const Vec row = row_of(table, r, t);
        const unsigned valid = n - k < LANES ? (1u << (n - k)) - 1 : 0xffu;
        Beyond beyond(table, r2);
        beyond.keep(valid);
        beyond.add_to(sums);
        load_rows(table.rows, stride, row, c);
        const Vec scale = (all(0.0) - c[6]) / r;
        quintic(c, t, p, d);
        store(kept + k, d * scale);
        if (keep_phi) store(kept + functions * padded + k, p);
        energy += where(valid, p);
        for (std::size_t f = 1; f < functions; ++f) {
            load_rows(table.rows + f * ROW, stride, row, c);
            quintic(c, t, p, d);
            store(kept + f * padded + k, d * scale);
            store(densities + (f - 1) * CAPACITY + k, p);
        }
    }
    sums.energy += sum(energy);
    const double shortest2 = least(shortest);
    sums.shortest2 = shortest2 < sums.shortest2 ? shortest2 : sums.shortest2;
    sums.inner |= shortest2 < table.start * table.start;
}

// Where a table has, in rows of `row` numbers, the density in a channel that element b gives an atom of element a.
inline std::size_t density_of(const View& s, int a, int b, int channel, std::size_t row) {
    return (channel + (a > b ? s.channels : 0)) * row;
}

template <bool ONE_ELEMENT, bool ONE_CHANNEL>
void density_pass(const View& s, const ListView& list, const Entry& entry, bool per_atom, const Scratch& scratch,
                  Sums& sums, Kept& kept) {
    const int n_elements = ONE_ELEMENT ? 1 : s.n_elements, channels = ONE_CHANNEL ? 1 : s.channels;
    const std::size_t n_tables = ONE_ELEMENT ? 1 : s.n_tables, lanes = s.n_lanes;
    std::size_t* const filled = scratch.filled;
    const Half i(s, entry);
    Vec mine[HALF][ONE_CHANNEL ? 1 : MOST_CHANNELS], theirs[ONE_CHANNEL ? 1 : MOST_CHANNELS];
    for (int a = 0; a < HALF; ++a)
        for (int c = 0; c < channels; ++c) mine[a][c] = all(0.0);
    for (std::uint32_t begin = entry.begin; begin < entry.end; begin += CHUNK) {
        const std::uint32_t end = entry.end - begin < CHUNK ? entry.end : begin + CHUNK;
        const std::uint8_t* mask = kept.masks;
        pack_pairs<ONE_ELEMENT>(s, i, list.j + begin, list.j + end, scratch.packed, filled, kept.masks);
        kept.masks += (end - begin) * HALF * n_elements;
        double* densities = scratch.densities;
        for (std::size_t kind = 0; kind < n_tables; ++kind) {
            const Table& table = s.tables[kind];
            const std::size_t n = filled[kind];
            double* const at = scratch.packed + kind * CAPACITY;
            evaluate<ONE_ELEMENT && ONE_CHANNEL ? 2 : 0>(table, at, n, per_atom, kept.values, densities, sums);
            kept.values += rounded_up(n) * (table.functions + (per_atom ? 1 : 0));
            *kept.counts++ = static_cast<std::uint32_t>(n);
            scratch.of_table[kind] = densities;
            densities += (table.functions - 1) * CAPACITY;
            filled[kind] = 0;
        }
        const double* from = scratch.densities;  // of the only table
        for (std::uint32_t k = begin; k < end; ++k) {
            double* const density = &sums.density[static_cast<std::size_t>(list.j[k]) * LANES];
            for (int c = 0; c < channels; ++c) theirs[c] = load(density + c * lanes);
            for (int a = 0; a < HALF; ++a)
                for (int b = 0; b < n_elements; ++b, ++mask) {
                    if (ONE_ELEMENT) {
                        for (int c = 0; c < channels; ++c) {
                            const Vec f = unpack(from + c * CAPACITY, *mask);
                            mine[a][c] += f, theirs[c] += f;
                        }
                        from += count(*mask);
                        continue;
                    }
                    if (!ONE_CHANNEL && !*mask) continue;  // of one channel, a branch would cost more
                    const int own = element_of(s, i, a);
                    const std::size_t kind = s.table_of[own * n_elements + b];
                    const double* at = scratch.of_table[kind] + filled[kind];
                    filled[kind] += count(*mask);
                    for (int c = 0; c < channels; ++c) {
                        const Vec f = unpack(at + density_of(s, own, b, c, CAPACITY), *mask);
                        mine[a][c] += f;
                        theirs[c] += own == b ? f : unpack(at + density_of(s, b, own, c, CAPACITY), *mask);
                    }
                }
            for (int c = 0; c < channels; ++c) store(density + c * lanes, theirs[c]);
        }
    }
    for (int a = 0; a < HALF; ++a)
        for (int c = 0; c < channels; ++c) sums.density[c * lanes + i.first + a] += sum(mine[a][c]);
}

void densities(const View& s, const ListView& list, const Entry& entry, bool per_atom, const Scratch& scratch,
               Sums& sums, Kept& kept) {
    const auto pass = s.n_elements == 1 ? (s.channels == 1 ? density_pass<true, true> : density_pass<true, false>)
                                        : (s.channels == 1 ? density_pass<false, true> : density_pass<false, false>);
    pass(s, list, entry, per_atom, scratch, sums, kept);
}

// F of some clusters' densities: F' to `push`, energies to the sums.
void embed(const View& s, std::size_t begin, std::size_t end, const double* density, double* push, bool per_atom,
           Sums& sums) {
    for (std::size_t cluster = begin; cluster < end; ++cluster)
        for (int c = 0; c < s.channels; ++c) {
            const std::size_t at = c * s.n_lanes + cluster * LANES;
            const Vec rho = load(density + at);
            Vec slope = all(0.0), energy = all(0.0);
            for (int e = 0; e < s.n_elements; ++e) {
                const unsigned mine = s.element_mask[cluster * s.n_elements + e];
                if (!mine) continue;
                const Embedding& table = s.embeddings[e * s.channels + c];
                const Vec x = larger(smaller(rho, all(table.end)), all(table.start));
                Vec t, row[7], p, d;
                load_rows(table.rows, ROW, row_of(table, x, t), row);
                quintic(row, t, p, d);
                d = d * row[6];
                slope += where(mine, d), energy += where(mine, p + d * (rho - x));
                unsigned outside = less(rho, all(table.low)) | less(all(table.high), rho);
                for (std::size_t g = 0; g < table.n_gaps; ++g)
                    outside |= less(rho, all(table.gaps[2 * g + 1])) & ~less(rho, all(table.gaps[2 * g]));
                sums.densities += count(outside & mine);
                sums.inner |= ((less(rho, all(table.least)) | less(all(table.most), rho)) & mine) != 0;
            }
            store(push + at, slope);
            sums.energy += sum(energy);
            if (per_atom) {
                const Lanes es(energy);
                for (int l = 0; l < LANES; ++l) sums.energies[cluster * LANES + l] += es[l];
            }
        }
}

template <bool ONE_ELEMENT, bool ONE_CHANNEL, bool PER_ATOM>
void force_pass(const View& s, const ListView& list, const double* push, const Scratch& scratch, Sums& sums,
                Kept& kept) {
    const int n_elements = ONE_ELEMENT ? 1 : s.n_elements, channels = ONE_CHANNEL ? 1 : s.channels;
    const std::size_t n_tables = ONE_ELEMENT ? 1 : s.n_tables, lanes = s.n_lanes;
    std::size_t* const filled = scratch.filled;
    Vec theirs[ONE_CHANNEL ? 1 : MOST_CHANNELS];
    for (std::size_t number = 0; number < list.size; ++number) {
        const Entry entry = list.entries[number];
        const Half i(s, entry);
        HalfForces forces;
        for (std::uint32_t begin = entry.begin; begin < entry.end; begin += CHUNK) {
            const std::uint32_t end = entry.end - begin < CHUNK ? entry.end : begin + CHUNK;
            const double* from = kept.values;                    // of the only table
            const std::size_t width = rounded_up(*kept.counts);  // and of its rows
            for (std::size_t kind = 0; kind < n_tables; ++kind) {
                scratch.of_table[kind] = kept.values;
                scratch.padded[kind] = rounded_up(*kept.counts++);
                kept.values += scratch.padded[kind] * (s.tables[kind].functions + (PER_ATOM ? 1 : 0));
                filled[kind] = 0;
            }
            for (std::uint32_t k = begin; k < end; ++k) {
                const std::size_t j = list.j[k];
                const std::uint8_t* mask = kept.masks;
                kept.masks += HALF * n_elements;
                unsigned any = 0;
                for (int m = 0; m < HALF * n_elements; ++m) any |= mask[m];
                if (!any) continue;
                const Vec xj = load(&s.x[j * LANES]), yj = load(&s.y[j * LANES]), zj = load(&s.z[j * LANES]);
                Vec gx = load(&sums.fx[j * LANES]), gy = load(&sums.fy[j * LANES]), gz = load(&sums.fz[j * LANES]);
                for (int c = 0; c < channels; ++c) theirs[c] = load(push + c * lanes + j * LANES);
                for (int a = 0; a < HALF; ++a) {
                    const double* mine = push + i.first + a;
                    Vec f = all(0.0), e = all(0.0);
                    if (ONE_ELEMENT) {
                        f = unpack(from, *mask);
                        for (int c = 0; c < channels; ++c)
                            f += (all(mine[c * lanes]) + theirs[c]) * unpack(from + (1 + c) * width, *mask);
                        if (PER_ATOM) e = unpack(from + (1 + channels) * width, *mask);
                        from += count(*mask++);
                    }
                    for (int b = 0; !ONE_ELEMENT && b < n_elements; ++b, ++mask) {
                        if (!ONE_CHANNEL && !*mask) continue;
                        const int own = element_of(s, i, a);
                        const std::size_t kind = s.table_of[own * n_elements + b], row = scratch.padded[kind];
                        const double* at = scratch.of_table[kind] + filled[kind];
                        filled[kind] += count(*mask);
                        f += unpack(at, *mask);
                        for (int c = 0; c < channels; ++c) {
                            const Vec g = unpack(at + row + density_of(s, own, b, c, row), *mask);
                            const Vec h = own == b ? g : unpack(at + row + density_of(s, b, own, c, row), *mask);
                            f += mine[c * lanes] * g + theirs[c] * h;
                        }
                        if (PER_ATOM) e += unpack(at + s.tables[kind].functions * row, *mask);
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

template <bool PER_ATOM>
void forces_of(const View& s, const ListView& list, const double* push, const Scratch& scratch, Sums& sums,
               Kept& kept) {
    const auto pass = s.n_elements == 1
        ? (s.channels == 1 ? force_pass<true, true, PER_ATOM> : force_pass<true, false, PER_ATOM>)
        : (s.channels == 1 ? force_pass<false, true, PER_ATOM> : force_pass<false, false, PER_ATOM>);
    pass(s, list, push, scratch, sums, kept);
}

void forces(const View& s, const ListView& list, const double* push, bool per_atom, const Scratch& scratch, Sums& sums,
            Kept& kept) {
    const auto pass = per_atom ? forces_of<true> : forces_of<false>;
    pass(s, list, push, scratch, sums, kept);
}

}  // namespace

const EmbeddedKernel embedded_kernel = {densities, embed, forces};

}  // namespace ISA
}  // namespace kan
