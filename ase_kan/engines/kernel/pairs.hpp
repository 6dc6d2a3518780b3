// What the kernels are given: plain data. pairs.cpp and embedded.cpp are compiled once per instruction set, so nothing
// here may bring inline functions of the standard library along: the linker could pick the AVX-512 copy of one for
// everybody.
//
// Atoms are kept in an order of their own: columns in x and y, by z within a column, eight to a cluster. Lanes of a
// cluster that no atom fills belong to no element. A half cluster i of four atoms meets whole clusters j of eight.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kan {

constexpr int LANES = 8;    // atoms of a cluster j
constexpr int HALF = 4;     // atoms of a half cluster i
constexpr int ROW = 8;      // numbers of a table row: c0 ... c5, du/dx (of pair potentials -2 du/d(r^2)), 0
constexpr int MOST_CHANNELS = 16;  // densities of an atom
constexpr std::uint8_t NO_ELEMENT = 255;
constexpr std::uint32_t CHUNK = 48;  // clusters j worked on at a time, so that what is packed stays in the cache
constexpr std::size_t CAPACITY = CHUNK * HALF * LANES + LANES;

// The table of one pair of elements. Row number and place in the row come from x, which is r^2 for a pair potential and
// r for an embedded-atom potential, by
//     u(x) = slope (x - start) + sum_k change_k max(0, x - at_k),
// which makes every break of the functions a knot.
struct Table {
    double cutoff2, low2, high2;  // squares of the cutoff and of the ends of the data
    double start, slope;
    const double *at, *change;
    std::size_t breaks;
    const double* rows;
    int n_rows;
    const double* gaps;             // squares of the ends of each gap in the data
    std::size_t n_gaps;
    std::size_t functions;          // phi, and f of each channel, both ways if the elements differ; a row for each
};

// F of one element and channel, with x the density: a straight line before `start` and after `end`.
struct Embedding {
    double low, high;               // ends of the data
    double least, most;             // what holds
    double start, end, slope;
    const double *at, *change;
    std::size_t breaks;
    const double* rows;
    int n_rows;
    const double* gaps;             // ends of each gap in the data
    std::size_t n_gaps;
};

// Clusters j that half cluster i meets when i is moved by a lattice translation.
struct Entry {
    std::int32_t i, shift;
    std::uint32_t begin, end;  // in the list's j
};

struct ListView {
    const Entry* entries;
    std::size_t size;
    const std::int32_t* j;
};

struct View {
    int n_elements;
    const Table* tables;
    std::size_t n_tables;
    const int* table_of;               // element i, element j -> table
    const std::uint8_t* element;       // of each lane
    const std::uint8_t* element_mask;  // per cluster and element: its lanes
    const double *x, *y, *z;           // of each lane
    const double* shifts;              // three per translation
    std::size_t n_lanes;
    int channels;                      // 0 for a pair potential
    const Embedding* embeddings;       // per element and channel
};

// What one thread adds up.
struct Sums {
    double *fx, *fy, *fz;         // per lane
    double *energies, *virials;   // per lane, one and six; on request
    double* shift_force;          // three per translation
    double energy, shortest2;
    std::int64_t below, above, inside;
    bool inner;                   // some pair is closer, or density farther, than its table goes
    double* density;              // per channel and lane
    std::int64_t densities;       // outside the data
};

// Room to work in, for one thread.
struct Scratch {
    double *packed, *energies;    // CAPACITY per table
    std::size_t* filled;          // per table
    std::uint8_t* masks;          // CHUNK * HALF * n_elements
    // Of embedded-atom potentials: CAPACITY for each f of each table; per table, where its numbers are, and how many in
    // a row.
    double* densities;
    double** of_table;
    std::size_t* padded;
};

// What the first pass over the pairs of a list keeps for the second: for each chunk of an entry, per table the slopes
// (and perhaps energies) of packed pairs and how many they are; and masks. Both passes move the pointers along.
struct Kept {
    double* values;
    std::uint8_t* masks;
    std::uint32_t* counts;
};

struct PairKernel {
    // Of a list, what has a pair within reach now; into room for as much as the list has. Tells how much it is.
    void (*prune)(const View&, const ListView&, double reach2, Entry* entries, std::int32_t* j, std::size_t* n_entries,
                  std::size_t* n_j);
    void (*sum)(const View&, const ListView&, bool per_atom, const Scratch&, Sums&);
};
struct EmbeddedKernel {
    // First pass, an entry at a time, since there must be room for what is kept.
    void (*densities)(const View&, const ListView&, const Entry&, bool per_atom, const Scratch&, Sums&, Kept&);
    // F of the clusters from `begin` on; `push` gets F'. Both arrays are per channel and lane.
    void (*embed)(const View&, std::size_t begin, std::size_t end, const double* density, double* push, bool per_atom,
                  Sums&);
    // Second pass.
    void (*forces)(const View&, const ListView&, const double* push, bool per_atom, const Scratch&, Sums&, Kept&);
};
namespace baseline { extern const PairKernel kernel; extern const EmbeddedKernel embedded_kernel; }
namespace avx2 { extern const PairKernel kernel; extern const EmbeddedKernel embedded_kernel; }
namespace avx512 { extern const PairKernel kernel; extern const EmbeddedKernel embedded_kernel; }

}  // namespace kan
