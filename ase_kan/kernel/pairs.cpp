// Energies and forces of listed pairs. Compiled once per instruction set, each in a namespace of its own (ISA).
//
// Only about a fifth of the listed pairs are within the cutoff. So the squared distances of those are packed densely,
// table by table; the tables are evaluated on the packed numbers; and a second pass over the same pairs unpacks the
// results and adds up the forces. A row holds the coefficients of a quintic in t = u - row (system.hpp):
//     E = c0 + c1 t + ... + c5 t^5        f = -(dE/dr) / r = -2 du/d(r^2) dE/dt        F_i = f (r_i - r_j) = -F_j
#include "system.hpp"

#include <algorithm>
#include <limits>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace kan {
namespace ISA {
namespace {

typedef double Vec __attribute__((vector_size(64)));

inline Vec load(const double* p) { return *reinterpret_cast<const Vec*>(p); }
inline void store(double* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
inline Vec all(double value) { return Vec{value, value, value, value, value, value, value, value}; }
inline int count(unsigned bits) { return __builtin_popcount(bits); }

inline double sum(Vec v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

#if defined(__AVX512F__)
inline unsigned less(Vec a, Vec b) { return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ); }
inline Vec larger(Vec a, Vec b) { return (Vec)_mm512_max_pd((__m512d)a, (__m512d)b); }
inline Vec smaller(Vec a, Vec b) { return (Vec)_mm512_min_pd((__m512d)a, (__m512d)b); }
inline void pack(double* to, Vec v, unsigned bits) {
    _mm512_storeu_pd(to, _mm512_maskz_compress_pd(bits, (__m512d)v));
}
inline Vec unpack(const double* from, unsigned bits) {
    return (Vec)_mm512_maskz_expand_pd(bits, _mm512_loadu_pd(from));
}
// The first seven numbers of eight rows, transposed.
inline void load_rows(const double* rows, Vec row, Vec c[7]) {
    alignas(32) int n[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(n), _mm512_cvttpd_epi32((__m512d)row));
    __m512d r[8], a[8], b[8];
    for (int l = 0; l < 8; ++l) r[l] = _mm512_load_pd(rows + ROW * n[l]);
    for (int l = 0; l < 8; l += 2) {
        a[l] = _mm512_unpacklo_pd(r[l], r[l + 1]);      // columns 0 2 4 6 of rows l, l + 1
        a[l + 1] = _mm512_unpackhi_pd(r[l], r[l + 1]);  // columns 1 3 5 7
    }
    for (int odd = 0; odd < 2; ++odd) {
        b[odd] = _mm512_shuffle_f64x2(a[odd], a[2 + odd], 0x88);          // columns 0 4, rows 0-3
        b[2 + odd] = _mm512_shuffle_f64x2(a[odd], a[2 + odd], 0xdd);      // columns 2 6
        b[4 + odd] = _mm512_shuffle_f64x2(a[4 + odd], a[6 + odd], 0x88);  // rows 4-7
        b[6 + odd] = _mm512_shuffle_f64x2(a[4 + odd], a[6 + odd], 0xdd);
    }
    for (int odd = 0; odd < 2; ++odd) {
        c[0 + odd] = (Vec)_mm512_shuffle_f64x2(b[odd], b[4 + odd], 0x88);
        c[4 + odd] = (Vec)_mm512_shuffle_f64x2(b[odd], b[4 + odd], 0xdd);
        c[2 + odd] = (Vec)_mm512_shuffle_f64x2(b[2 + odd], b[6 + odd], 0x88);
        if (odd == 0) c[6] = (Vec)_mm512_shuffle_f64x2(b[2], b[6], 0xdd);
    }
}
inline Vec floor_of(Vec v) { return (Vec)_mm512_roundscale_pd((__m512d)v, _MM_FROUND_TO_ZERO); }
#else
inline unsigned less(Vec a, Vec b) {
    unsigned bits = 0;
#if defined(__AVX2__)
    __m256d p, q;
    for (int h = 0; h < 2; ++h) {
        p = _mm256_loadu_pd(reinterpret_cast<const double*>(&a) + 4 * h);
        q = _mm256_loadu_pd(reinterpret_cast<const double*>(&b) + 4 * h);
        bits |= static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(p, q, _CMP_LT_OQ))) << 4 * h;
    }
#else
    for (int l = 0; l < 8; ++l) bits |= (a[l] < b[l] ? 1u : 0u) << l;
#endif
    return bits;
}
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }
inline Vec smaller(Vec a, Vec b) { return a < b ? a : b; }
inline void pack(double* to, Vec v, unsigned bits) {
    for (; bits; bits &= bits - 1) *to++ = v[__builtin_ctz(bits)];
}
inline Vec unpack(const double* from, unsigned bits) {
    Vec v = all(0.0);
    for (; bits; bits &= bits - 1) v[__builtin_ctz(bits)] = *from++;
    return v;
}
inline void load_rows(const double* rows, Vec row, Vec c[7]) {
    for (int l = 0; l < 8; ++l) {
        const double* r = rows + ROW * static_cast<int>(row[l]);
        for (int k = 0; k < 7; ++k) c[k][l] = r[k];
    }
}
inline Vec floor_of(Vec v) {
    for (int l = 0; l < 8; ++l) v[l] = static_cast<double>(static_cast<int>(v[l]));
    return v;
}
#endif

constexpr std::uint32_t CHUNK = 48;  // clusters j worked on at a time, so that what is packed stays in the cache
constexpr std::size_t CAPACITY = CHUNK * HALF * LANES + LANES;

// Replace n packed r^2 by f; energies go to `e` if it is given.
void evaluate(const Table& table, double* packed, double* e, std::size_t n, Sums& sums) {
    if (n == 0) return;
    for (std::size_t k = n; k % LANES; ++k) packed[k] = packed[0];  // fill up with something harmless
    const Vec zero = all(0.0), last = all(table.n_rows - 1.0);
    Vec energy = zero, shortest = all(packed[0]);
    const std::size_t breaks = table.at.size();
    for (std::size_t k = 0; k < n; k += LANES) {
        const Vec x = load(packed + k);
        shortest = smaller(shortest, x);
        unsigned below = less(x, all(table.low2)), above = less(all(table.high2), x);
        Vec u = table.slope * (x - table.start);
        for (std::size_t b = 0; b < breaks; ++b) u += table.change[b] * larger(x - table.at[b], zero);
        const Vec row = larger(smaller(floor_of(u), last), zero);
        const Vec t = u - row;
        Vec c[7];
        load_rows(table.rows.data(), row, c);
        Vec p = c[5] * t + c[4], d = c[5];
        d = d * t + p, p = p * t + c[3];
        d = d * t + p, p = p * t + c[2];
        d = d * t + p, p = p * t + c[1];
        d = d * t + p, p = p * t + c[0];
        store(packed + k, d * c[6]);
        if (e) store(e + k, p);
        if (n - k < LANES) {
            const unsigned valid = (1u << (n - k)) - 1;
            below &= valid, above &= valid;
            for (std::size_t l = n - k; l < LANES; ++l) p[l] = 0.0;
        }
        energy += p;
        sums.below += count(below), sums.above += count(above);
    }
    sums.energy += sum(energy);
    double least = shortest[0];
    for (int l = 1; l < LANES; ++l) least = std::min(least, shortest[l]);
    sums.shortest2 = std::min(sums.shortest2, least);
    sums.inner |= least < table.start;
}

template <bool ONE, bool PER_ATOM>
void block_pairs(const System& s, const Block& block, Sums& sums, double* packed, double* energies) {
    const int n_elements = ONE ? 1 : s.n_elements;
    const std::size_t n_tables = ONE ? 1 : s.tables.size();
    std::vector<std::size_t> filled(n_tables);
    const Vec cutoff2 = all(s.tables[0].cutoff2);
    std::vector<std::uint8_t> masks(CHUNK * HALF * n_elements);
    for (const Entry& entry : block.entries) {
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
            const std::uint32_t end = std::min(begin + CHUNK, entry.end);
            std::fill(filled.begin(), filled.end(), 0);
            std::uint8_t* mask = masks.data();
            double* to = packed;
            for (std::uint32_t k = begin; k < end; ++k) {
                const std::size_t j = block.j[k];
                const Vec xj = load(&s.x[j * LANES]), yj = load(&s.y[j * LANES]), zj = load(&s.z[j * LANES]);
                const unsigned own = entry.shift == 0 && j == first / LANES ? 0xffu : 0u;
                for (int a = 0; a < HALF; ++a) {
                    const Vec dx = xi[a] - xj, dy = yi[a] - yj, dz = zi[a] - zj;
                    const Vec r2 = dx * dx + dy * dy + dz * dz;
                    const unsigned allowed = valid[a] & ~(own & later[a]);
                    if (ONE) {
                        const unsigned near = less(r2, cutoff2) & allowed & s.element_mask[j];
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
            }
            std::fill(filled.begin(), filled.end(), 0);
            mask = masks.data();
            const double* from = packed;
            for (std::uint32_t k = begin; k < end; ++k) {
                const std::size_t j = block.j[k];
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
                        for (int l = 0; l < LANES; ++l) sums.energies[j * LANES + l] += e[l] / 2;
                        for (int v = 0; v < 6; ++v) {
                            sums.virials[6 * (first + a) + v] += sum(w[v]) / 2;
                            for (int l = 0; l < LANES; ++l) sums.virials[6 * (j * LANES + l) + v] += w[v][l] / 2;
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

}  // namespace

void pairs(const System& s, std::size_t first_block, std::size_t last_block, bool per_atom, Sums& sums) {
    const std::size_t size = s.tables.size() * CAPACITY;
    Array<double> packed(size), energies(per_atom ? size : 0);
    for (std::size_t n = first_block; n < last_block; ++n) {
        const Block& block = s.blocks[n];
        if (s.n_elements == 1 && per_atom)
            block_pairs<true, true>(s, block, sums, packed.data(), energies.data());
        else if (s.n_elements == 1)
            block_pairs<true, false>(s, block, sums, packed.data(), nullptr);
        else if (per_atom)
            block_pairs<false, true>(s, block, sums, packed.data(), energies.data());
        else
            block_pairs<false, false>(s, block, sums, packed.data(), nullptr);
    }
}

}  // namespace ISA
}  // namespace kan
