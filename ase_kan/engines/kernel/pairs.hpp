// What the pair kernel is given: plain data. pairs.cpp is compiled once per instruction set, so nothing here may bring
// inline functions of the standard library along: the linker could pick the AVX-512 copy of one for everybody.
//
// Atoms are kept in an order of their own: columns in x and y, by z within a column, eight to a cluster. Lanes of a
// cluster that no atom fills belong to no element. A half cluster i of four atoms meets whole clusters j of eight.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kan {

constexpr int LANES = 8;    // atoms of a cluster j
constexpr int HALF = 4;     // atoms of a half cluster i
constexpr int ROW = 8;      // numbers of a table row: c0 ... c5, -2 du/d(r^2), 0
constexpr std::uint8_t NO_ELEMENT = 255;
constexpr std::uint32_t CHUNK = 48;  // clusters j worked on at a time, so that what is packed stays in the cache
constexpr std::size_t CAPACITY = CHUNK * HALF * LANES + LANES;

// The table of one pair of elements. Row number and place in the row come from x = r^2 by
//     u(x) = slope (x - start) + sum_k change_k max(0, x - at_k),
// which makes every break of the function a knot.
struct Table {
    double cutoff2, low2, high2;  // squares of the cutoff and of the ends of the data
    double start, slope;
    const double *at, *change;
    std::size_t breaks;
    const double* rows;
    int n_rows;
    const double* gaps;             // squares of the ends of each gap in the data
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
};

// What one thread adds up.
struct Sums {
    double *fx, *fy, *fz;         // per lane
    double *energies, *virials;   // per lane, one and six; on request
    double* shift_force;          // three per translation
    double energy, shortest2;
    std::int64_t below, above, inside;
    bool inner;                   // some pair is closer than its table goes
};

// Room to work in, for one thread.
struct Scratch {
    double *packed, *energies;    // CAPACITY per table
    std::size_t* filled;          // per table
    std::uint8_t* masks;          // CHUNK * HALF * n_elements
};

struct PairKernel {
    // Of a list, what has a pair within reach now; into room for as much as the list has. Tells how much it is.
    void (*prune)(const View&, const ListView&, double reach2, Entry* entries, std::int32_t* j, std::size_t* n_entries,
                  std::size_t* n_j);
    void (*sum)(const View&, const ListView&, bool per_atom, const Scratch&, Sums&);
};
namespace baseline { extern const PairKernel kernel; }
namespace avx2 { extern const PairKernel kernel; }
namespace avx512 { extern const PairKernel kernel; }

}  // namespace kan
