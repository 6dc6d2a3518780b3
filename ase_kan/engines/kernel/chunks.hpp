// What sums over listed pairs have in common: half clusters, packing, the polynomials of tables, and what is counted.
// Included after vectors.hpp inside the namespace of an instruction set.
//
// Only about a fifth of the listed pairs are within the cutoff. So the squared distances of those are packed densely,
// table by table; the tables are evaluated on the packed numbers; and a second pass over the same pairs unpacks the
// results and adds them up.

// Half cluster i of an entry, moved by the entry's translation.
struct Half {
    std::size_t first;  // its first lane
    bool home;          // not moved: it may meet its own cluster
    unsigned valid[HALF], later[HALF];
    Vec x[HALF], y[HALF], z[HALF];
    Half(const View& s, const Entry& entry)
        : first(static_cast<std::size_t>(entry.i) * HALF), home(entry.shift == 0) {
        const double* shift = &s.shifts[3 * entry.shift];
        for (int a = 0; a < HALF; ++a) {
            x[a] = all(s.x[first + a] + shift[0]), y[a] = all(s.y[first + a] + shift[1]);
            z[a] = all(s.z[first + a] + shift[2]);
            valid[a] = s.element[first + a] == NO_ELEMENT ? 0u : 0xffu;
            later[a] = (2u << ((first + a) % LANES)) - 1;  // itself and the atoms before it
        }
    }
};

// Its element; any where there is no atom.
inline int element_of(const View& s, const Half& i, int a) { return i.valid[a] ? s.element[i.first + a] : 0; }

// Pack r^2 of the pairs of a half cluster with clusters j of a list: `filled[kind]` of them for each table, from
// `packed + kind * CAPACITY` on, and for each j, atom and element of j a mask of lanes.
template <bool ONE>
inline void pack_pairs(const View& s, const Half& i, const std::int32_t* begin, const std::int32_t* end, double* packed,
                       std::size_t* filled, std::uint8_t* mask) {
    const int n_elements = ONE ? 1 : s.n_elements;
    const std::size_t n_tables = ONE ? 1 : s.n_tables;
    const Vec cutoff2 = all(s.tables[0].cutoff2);
    for (std::size_t kind = 0; kind < n_tables; ++kind) filled[kind] = 0;
    double* to = packed;
    for (const std::int32_t* k = begin; k < end; ++k) {
        const std::size_t j = *k;
        const Vec xj = load(&s.x[j * LANES]), yj = load(&s.y[j * LANES]), zj = load(&s.z[j * LANES]);
        const unsigned own = i.home && j == i.first / LANES ? 0xffu : 0u;
        for (int a = 0; a < HALF; ++a) {
            const Vec dx = i.x[a] - xj, dy = i.y[a] - yj, dz = i.z[a] - zj;
            const Vec r2 = dx * dx + dy * dy + dz * dz;
            const unsigned allowed = i.valid[a] & ~(own & i.later[a]);
            if (ONE) {
                const unsigned near = less(r2, cutoff2) & allowed;
                pack(to, r2, near);
                to += count(near);
                *mask++ = static_cast<std::uint8_t>(near);
                continue;
            }
            for (int b = 0; b < n_elements; ++b) {
                const std::size_t kind = s.table_of[element_of(s, i, a) * n_elements + b];
                const unsigned near = less(r2, all(s.tables[kind].cutoff2)) & allowed &
                                      s.element_mask[j * n_elements + b];
                pack(packed + kind * CAPACITY + filled[kind], r2, near);
                filled[kind] += count(near);
                *mask++ = static_cast<std::uint8_t>(near);
            }
        }
    }
    if (ONE) filled[0] = to - packed;
}

// u, and from it the row and the place in the row, of a table's map (Table and Embedding).
template <class Map> inline Vec row_of(const Map& map, const Vec& x, Vec& t) {
    Vec u = map.slope * (x - map.start);
    for (std::size_t b = 0; b < map.breaks; ++b) u += map.change[b] * larger(x - map.at[b], all(0.0));
    const Vec row = larger(smaller(truncated(u), all(map.n_rows - 1.0)), all(0.0));
    t = u - row;
    return row;
}

// c0 + c1 t + ... + c5 t^5 in p and its derivative in d.
inline void quintic(const Vec c[7], const Vec& t, Vec& p, Vec& d) {
    p = c[5] * t + c[4], d = c[5];
    d = d * t + p, p = p * t + c[3];
    d = d * t + p, p = p * t + c[2];
    d = d * t + p, p = p * t + c[1];
    d = d * t + p, p = p * t + c[0];
}

// Which of eight squared distances are outside the data, and the counting of those that are pairs.
struct Beyond {
    unsigned below, above, inside = 0;
    Beyond(const Table& table, const Vec& r2) : below(less(r2, all(table.low2))), above(less(all(table.high2), r2)) {
        for (std::size_t g = 0; g < table.n_gaps; ++g)
            inside |= less(r2, all(table.gaps[2 * g + 1])) & ~less(r2, all(table.gaps[2 * g]));
    }
    void keep(unsigned valid) { below &= valid, above &= valid, inside &= valid; }
    void add_to(Sums& sums) const {
        sums.below += count(below), sums.above += count(above);
        if (inside) sums.inside += count(inside);
    }
};

inline double least(const Vec& a) {
    const Lanes v(a);
    double smallest = v[0];
    for (int l = 1; l < LANES; ++l) smallest = v[l] < smallest ? v[l] : smallest;
    return smallest;
}

// Half of the energies e and of the virials of pairs of the atom on lane i to each atom.
inline void add_per_atom(Sums& sums, std::size_t i, std::size_t j, const Vec& e, const Vec w[6]) {
    sums.energies[i] += sum(e) / 2;
    const Lanes es(e);
    for (int l = 0; l < LANES; ++l) sums.energies[j * LANES + l] += es[l] / 2;
    for (int v = 0; v < 6; ++v) {
        sums.virials[6 * i + v] += sum(w[v]) / 2;
        const Lanes ws(w[v]);
        for (int l = 0; l < LANES; ++l) sums.virials[6 * (j * LANES + l) + v] += ws[l] / 2;
    }
}

// Forces of the atoms of a half cluster.
struct HalfForces {
    Vec x[HALF], y[HALF], z[HALF];
    HalfForces() {
        for (int a = 0; a < HALF; ++a) x[a] = y[a] = z[a] = all(0.0);
    }
    void add_to(Sums& sums, const Entry& entry) const {
        const std::size_t first = static_cast<std::size_t>(entry.i) * HALF;
        for (int a = 0; a < HALF; ++a) {
            const double f[3] = {sum(x[a]), sum(y[a]), sum(z[a])};
            sums.fx[first + a] += f[0], sums.fy[first + a] += f[1], sums.fz[first + a] += f[2];
            for (int d = 0; d < 3; ++d) sums.shift_force[3 * entry.shift + d] += f[d];
        }
    }
};
