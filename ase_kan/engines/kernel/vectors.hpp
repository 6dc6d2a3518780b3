// Eight doubles, in what the instruction set has for them. Included by sums over pairs inside their namespace.
//
// Masks are the low eight bits of an unsigned, a bit per lane.

inline int count(unsigned bits) { return __builtin_popcount(bits); }

#if defined(__AVX512F__)

struct Vec {
    __m512d v;
};
inline Vec all(double value) { return {_mm512_set1_pd(value)}; }
inline Vec load(const double* p) { return {_mm512_load_pd(p)}; }
inline void store(double* p, Vec a) { _mm512_store_pd(p, a.v); }
inline Vec operator+(Vec a, Vec b) { return {_mm512_add_pd(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_pd(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_pd(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm512_div_pd(a.v, b.v)}; }
inline Vec root(Vec a) { return {_mm512_sqrt_pd(a.v)}; }
inline Vec larger(Vec a, Vec b) { return {_mm512_max_pd(a.v, b.v)}; }
inline Vec smaller(Vec a, Vec b) { return {_mm512_min_pd(a.v, b.v)}; }
inline Vec truncated(Vec a) { return {_mm512_roundscale_pd(a.v, _MM_FROUND_TO_ZERO)}; }
inline unsigned less(Vec a, Vec b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ); }
inline void pack(double* to, Vec a, unsigned bits) { _mm512_storeu_pd(to, _mm512_maskz_compress_pd(bits, a.v)); }
inline Vec unpack(const double* from, unsigned bits) {
    return {_mm512_maskz_expand_pd(bits, _mm512_loadu_pd(from))};
}
inline Vec where(unsigned bits, Vec a) { return {_mm512_maskz_mov_pd(bits, a.v)}; }
inline void load_rows(const double* rows, std::size_t stride, Vec row, Vec c[7]) {
    alignas(32) int n[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(n), _mm512_cvttpd_epi32(row.v));
    __m512d r[8], a[8], b[8];
    for (int l = 0; l < 8; ++l) r[l] = _mm512_load_pd(rows + stride * n[l]);
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
        c[0 + odd] = {_mm512_shuffle_f64x2(b[odd], b[4 + odd], 0x88)};
        c[4 + odd] = {_mm512_shuffle_f64x2(b[odd], b[4 + odd], 0xdd)};
        c[2 + odd] = {_mm512_shuffle_f64x2(b[2 + odd], b[6 + odd], 0x88)};
        if (odd == 0) c[6] = {_mm512_shuffle_f64x2(b[2], b[6], 0xdd)};
    }
}

#elif defined(__AVX2__)

struct Vec {
    __m256d v, w;  // lanes 0-3 and 4-7
};
inline Vec all(double value) { return {_mm256_set1_pd(value), _mm256_set1_pd(value)}; }
inline Vec load(const double* p) { return {_mm256_load_pd(p), _mm256_load_pd(p + 4)}; }
inline void store(double* p, Vec a) { _mm256_store_pd(p, a.v), _mm256_store_pd(p + 4, a.w); }
inline Vec operator+(Vec a, Vec b) { return {_mm256_add_pd(a.v, b.v), _mm256_add_pd(a.w, b.w)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_pd(a.v, b.v), _mm256_sub_pd(a.w, b.w)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_pd(a.v, b.v), _mm256_mul_pd(a.w, b.w)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm256_div_pd(a.v, b.v), _mm256_div_pd(a.w, b.w)}; }
inline Vec root(Vec a) { return {_mm256_sqrt_pd(a.v), _mm256_sqrt_pd(a.w)}; }
inline Vec larger(Vec a, Vec b) { return {_mm256_max_pd(a.v, b.v), _mm256_max_pd(a.w, b.w)}; }
inline Vec smaller(Vec a, Vec b) { return {_mm256_min_pd(a.v, b.v), _mm256_min_pd(a.w, b.w)}; }
inline Vec truncated(Vec a) {
    return {_mm256_round_pd(a.v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC),
            _mm256_round_pd(a.w, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)};
}
inline unsigned less(Vec a, Vec b) {
    return static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ))) |
           static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(a.w, b.w, _CMP_LT_OQ))) << 4;
}

// For each mask of four lanes: where the packed numbers come from, where the unpacked ones do, and the lanes
// themselves; as halves of doubles, which is what the permutation moves.
struct Moves {
    alignas(32) std::int32_t pack[16][8], unpack[16][8];
    alignas(32) std::int64_t lanes[16][4];
    constexpr Moves() : pack(), unpack(), lanes() {
        for (int bits = 0; bits < 16; ++bits)
            for (int l = 0, n = 0; l < 4; ++l) {
                if (!(bits >> l & 1)) continue;
                pack[bits][2 * n] = 2 * l, pack[bits][2 * n + 1] = 2 * l + 1;
                unpack[bits][2 * l] = 2 * n, unpack[bits][2 * l + 1] = 2 * n + 1;
                lanes[bits][l] = -1;
                ++n;
            }
    }
};
constexpr Moves MOVES;

inline __m256d moved(__m256d a, const std::int32_t* by) {
    return _mm256_castps_pd(
        _mm256_permutevar8x32_ps(_mm256_castpd_ps(a), _mm256_load_si256(reinterpret_cast<const __m256i*>(by))));
}
inline __m256d only(unsigned bits, __m256d a) {
    return _mm256_and_pd(a, _mm256_load_pd(reinterpret_cast<const double*>(MOVES.lanes[bits])));
}
inline void pack(double* to, Vec a, unsigned bits) {
    _mm256_storeu_pd(to, moved(a.v, MOVES.pack[bits & 15]));
    _mm256_storeu_pd(to + count(bits & 15), moved(a.w, MOVES.pack[bits >> 4]));
}
inline Vec unpack(const double* from, unsigned bits) {
    const unsigned low = bits & 15, high = bits >> 4;
    return {only(low, moved(_mm256_loadu_pd(from), MOVES.unpack[low])),
            only(high, moved(_mm256_loadu_pd(from + count(low)), MOVES.unpack[high]))};
}
inline Vec where(unsigned bits, Vec a) { return {only(bits & 15, a.v), only(bits >> 4, a.w)}; }
inline void transpose(const double* rows, std::size_t stride, const int* n, int column, __m256d c[4]) {
    __m256d r[4];
    for (int l = 0; l < 4; ++l) r[l] = _mm256_load_pd(rows + stride * n[l] + column);
    const __m256d a = _mm256_unpacklo_pd(r[0], r[1]), b = _mm256_unpackhi_pd(r[0], r[1]);
    const __m256d d = _mm256_unpacklo_pd(r[2], r[3]), e = _mm256_unpackhi_pd(r[2], r[3]);
    c[0] = _mm256_permute2f128_pd(a, d, 0x20), c[1] = _mm256_permute2f128_pd(b, e, 0x20);
    c[2] = _mm256_permute2f128_pd(a, d, 0x31), c[3] = _mm256_permute2f128_pd(b, e, 0x31);
}
inline void load_rows(const double* rows, std::size_t stride, Vec row, Vec c[7]) {
    alignas(16) int n[8];
    _mm_store_si128(reinterpret_cast<__m128i*>(n), _mm256_cvttpd_epi32(row.v));
    _mm_store_si128(reinterpret_cast<__m128i*>(n + 4), _mm256_cvttpd_epi32(row.w));
    for (int column = 0; column < 8; column += 4) {
        __m256d v[4], w[4];
        transpose(rows, stride, n, column, v);
        transpose(rows, stride, n + 4, column, w);
        for (int k = column; k < column + 4 && k < 7; ++k) c[k] = {v[k - column], w[k - column]};
    }
}

#else

struct Vec {
    double v[8];
};
template <class F> inline Vec each(F f) {
    Vec a;
    for (int l = 0; l < 8; ++l) a.v[l] = f(l);
    return a;
}
inline Vec all(double value) { return each([&](int) { return value; }); }
inline Vec load(const double* p) { return each([&](int l) { return p[l]; }); }
inline void store(double* p, Vec a) {
    for (int l = 0; l < 8; ++l) p[l] = a.v[l];
}
inline Vec operator+(const Vec& a, const Vec& b) { return each([&](int l) { return a.v[l] + b.v[l]; }); }
inline Vec operator-(const Vec& a, const Vec& b) { return each([&](int l) { return a.v[l] - b.v[l]; }); }
inline Vec operator*(const Vec& a, const Vec& b) { return each([&](int l) { return a.v[l] * b.v[l]; }); }
inline Vec operator/(const Vec& a, const Vec& b) { return each([&](int l) { return a.v[l] / b.v[l]; }); }
inline Vec root(const Vec& a) { return each([&](int l) { return __builtin_sqrt(a.v[l]); }); }
inline Vec larger(const Vec& a, const Vec& b) { return each([&](int l) { return a.v[l] > b.v[l] ? a.v[l] : b.v[l]; }); }
inline Vec smaller(const Vec& a, const Vec& b) { return each([&](int l) { return a.v[l] < b.v[l] ? a.v[l] : b.v[l]; }); }
inline Vec truncated(const Vec& a) { return each([&](int l) { return static_cast<double>(static_cast<int>(a.v[l])); }); }
inline unsigned less(const Vec& a, const Vec& b) {
    unsigned bits = 0;
    for (int l = 0; l < 8; ++l) bits |= (a.v[l] < b.v[l] ? 1u : 0u) << l;
    return bits;
}
inline void pack(double* to, const Vec& a, unsigned bits) {
    for (; bits; bits &= bits - 1) *to++ = a.v[__builtin_ctz(bits)];
}
inline Vec unpack(const double* from, unsigned bits) {
    Vec a = all(0.0);
    for (; bits; bits &= bits - 1) a.v[__builtin_ctz(bits)] = *from++;
    return a;
}
inline Vec where(unsigned bits, const Vec& a) { return each([&](int l) { return bits >> l & 1 ? a.v[l] : 0.0; }); }
inline void load_rows(const double* rows, std::size_t stride, const Vec& row, Vec c[7]) {
    for (int l = 0; l < 8; ++l) {
        const double* r = rows + stride * static_cast<int>(row.v[l]);
        for (int k = 0; k < 7; ++k) c[k].v[l] = r[k];
    }
}

#endif

inline Vec& operator+=(Vec& a, const Vec& b) { return a = a + b; }
inline Vec& operator-=(Vec& a, const Vec& b) { return a = a - b; }
inline Vec operator*(double a, const Vec& b) { return all(a) * b; }
inline Vec operator-(const Vec& a, double b) { return a - all(b); }
// The lanes' numbers, in a plain array.
struct Lanes {
    alignas(64) double v[8];
    explicit Lanes(const Vec& a) { store(v, a); }
    double operator[](int l) const { return v[l]; }
};
inline double sum(const Vec& a) {
    const Lanes v(a);
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}
