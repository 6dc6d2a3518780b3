// Data that the list builder, the pair kernel and the Python module share.
//
// Atoms are kept in an order of their own: columns in x and y, by z within a column, eight to a cluster. Lanes of a
// cluster that no atom fills belong to no element. A half cluster i of four atoms meets whole clusters j of eight.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <vector>

namespace kan {

constexpr int LANES = 8;    // atoms of a cluster j
constexpr int HALF = 4;     // atoms of a half cluster i
constexpr int ROW = 8;      // numbers of a table row: c0 ... c5, -2 du/d(r^2), 0
constexpr std::uint8_t NO_ELEMENT = 255;
constexpr double FAR = 1e30;

// std::vector whose memory starts on a cache line, for whole-vector loads.
template <class T> struct Aligned {
    using value_type = T;
    Aligned() = default;
    template <class U> Aligned(const Aligned<U>&) {}
    T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
    void deallocate(T* p, std::size_t) { ::operator delete(p, std::align_val_t(64)); }
    template <class U> bool operator==(const Aligned<U>&) const { return true; }
    template <class U> bool operator!=(const Aligned<U>&) const { return false; }
};
template <class T> using Array = std::vector<T, Aligned<T>>;

// The table of one pair of elements. Row number and place in the row come from x = r^2 by
//     u(x) = slope (x - start) + sum_k change_k max(0, x - at_k),
// which makes every break of the function a knot.
struct Table {
    double cutoff2, low2, high2;  // squares of the cutoff and of the ends of the data
    double start, slope;
    std::vector<double> at, change;
    Array<double> rows;
    int n_rows;
};

// Clusters j that half cluster i meets when i is moved by a lattice translation.
struct Entry {
    std::int32_t i, shift;
    std::uint32_t begin, end;  // in List::j
};

// Entries and what they point into.
struct List {
    std::vector<Entry> entries;
    std::vector<std::int32_t> j;
    void clear() { entries.clear(), j.clear(); }
};

// A part of the list: the unit of work of a thread. `all` comes from the boxes around the clusters and has room for
// the whole skin; `near` are those of it that are within the inner skin atom by atom, less than half as many.
struct Block {
    List all, near;
};

struct System {
    int n_elements = 0;
    std::vector<Table> tables;        // n_elements^2, symmetric
    std::vector<int> table_of;        // element i, element j -> table

    std::size_t n_atoms = 0, n_clusters = 0;
    std::vector<std::int32_t> atom;   // of each lane; -1 for none
    std::vector<std::uint8_t> element;        // of each lane
    std::vector<std::uint8_t> element_mask;   // per cluster and element: its lanes
    Array<double> x, y, z;            // positions of the lanes, wrapped; lanes without an atom are far away
    Array<std::int32_t> turns;        // three per lane: wrapped = raw - turns * box
    Array<double> built;              // three per lane: raw positions when the list was built
    Array<float> pruned;              // three per lane: how far from there when it was last pruned
    std::vector<double> shifts;       // three per translation; the first is zero
    std::vector<Block> blocks;
};

// What one thread adds up.
struct Sums {
    Array<double> fx, fy, fz;           // per lane
    Array<double> energies, virials;    // per lane, one and six; filled on request
    std::vector<double> shift_force;    // three per translation
    double energy = 0.0;
    std::int64_t below = 0, above = 0;
    double shortest2 = std::numeric_limits<double>::infinity();
    bool inner = false;                 // some pair is closer than its table goes
};

// A position moved back by whole box vectors.
struct Wrapped {
    double at[3];
    Wrapped(const double* p, const std::int32_t* turns, const double* box) {
        for (int d = 0; d < 3; ++d)
            at[d] = p[d] - (turns[0] * box[d] + turns[1] * box[3 + d] + turns[2] * box[6 + d]);
    }
};

// Make the list for positions (n, 3) in a box (rows are its vectors; unit vectors where not periodic).
void build_list(System& system, const double* positions, const std::uint8_t* element, std::size_t n,
                const double* box, const double* inverse, const bool* periodic, double reach, int threads);

// What is compiled once per instruction set (pairs.cpp).
struct PairKernel {
    void (*prune)(System&, std::size_t first_block, std::size_t last_block, double reach2);
    void (*sum)(const System&, std::size_t first_block, std::size_t last_block, bool per_atom, Sums&);
};
namespace baseline { extern const PairKernel kernel; }
namespace avx2 { extern const PairKernel kernel; }
namespace avx512 { extern const PairKernel kernel; }

}  // namespace kan
