// Who owns the atoms, tables and lists that the kernels work on, and who makes the lists.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <new>
#include <vector>

#include "pairs.hpp"

namespace kan {

constexpr double FAR = 1e30;        // where lanes without an atom are
constexpr double FARTHEST = 1e9;    // largest coordinate, Angstrom; and most cell vectors between two atoms
constexpr double MOST_IMAGES = 1e6; // translations of the cell that are looked at
constexpr double MOST_LISTED = 5e8; // cluster pairs: 2 GB for the list and up to as much for the pruned one

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

// The numbers of a table.
struct TableMemory {
    std::vector<double> at, change, gaps;
    Array<double> rows;
};

struct List {
    std::vector<Entry> entries;
    std::vector<std::int32_t> j;
    void clear() { entries.clear(), j.clear(); }
    ListView view() const { return {entries.data(), entries.size(), j.data()}; }
};

// A part of the list: the unit of work of a thread. `all` comes from the boxes around the clusters and has room for
// the whole skin; `near` are those of it that are within the inner skin atom by atom, less than half as many.
struct Block {
    List all, near;
};

struct System {
    int n_elements = 0;
    std::vector<Table> tables;
    std::deque<TableMemory> table_memory;  // which stays where it is when more comes
    std::vector<int> table_of;        // n_elements^2, symmetric
    int channels = 0;                 // densities of an atom; 0 for a pair potential
    std::vector<Embedding> embeddings;  // per element and channel
    Array<double> density, push;      // per channel and lane: rho and dF/drho

    std::size_t n_clusters = 0;
    std::vector<std::int32_t> atom;   // of each lane; -1 for none
    std::vector<std::uint8_t> element;
    std::vector<std::uint8_t> element_mask;
    Array<double> x, y, z;            // positions of the lanes, wrapped; lanes without an atom are far away
    Array<std::int32_t> turns;        // three per lane: wrapped = raw - turns * box
    Array<double> built;              // three per lane: raw positions when the list was built
    Array<float> pruned;              // three per lane: how far from there when it was last pruned
    std::vector<double> shifts;       // three per translation; the first is zero
    std::vector<Block> blocks;

    View view() const {
        return {n_elements, tables.data(), tables.size(), table_of.data(), element.data(), element_mask.data(),
                x.data(), y.data(), z.data(), shifts.data(), n_clusters * LANES, channels, embeddings.data()};
    }
};

// What one thread works with, kept from one calculation to the next.
struct Workspace {
    Array<double> fx, fy, fz, energies, virials, packed, packed_energies;
    std::vector<double> shift_force;
    std::vector<std::size_t> filled;
    std::vector<std::uint8_t> masks;
    std::vector<Entry> entries;       // of a pruned block
    std::vector<std::int32_t> j;
    Sums sums;
    // Of embedded-atom potentials.
    Array<double> density, packed_densities, kept;
    std::vector<double*> of_table;
    std::vector<std::size_t> padded;
    std::vector<std::uint8_t> kept_masks;
    std::vector<std::uint32_t> kept_counts;
};

// A position moved back by whole box vectors.
struct Wrapped {
    double at[3];
    Wrapped(const double* p, const std::int32_t* turns, const double* box) {
        for (int d = 0; d < 3; ++d)
            at[d] = p[d] - (turns[0] * box[d] + turns[1] * box[3 + d] + turns[2] * box[6 + d]);
    }
};

// Make the list for positions (n, 3) in a box (rows are its vectors; unit vectors where not periodic). `poll` is
// called now and then by the calling thread, and may throw. std::invalid_argument for atoms too far apart or too many.
void build_list(System& system, const double* positions, const std::uint8_t* element, std::size_t n,
                const double* box, const double* inverse, const bool* periodic, double reach, int threads,
                void (*poll)());

// The pairs outside the ranges of their data, of a pruned list.
struct Outside {
    std::vector<std::int64_t> i, j;
    std::vector<double> distance;
};
Outside find_outside(const System& system);

}  // namespace kan
