// Sums over pairs for functions of the distance that are not yet chosen: each is linear between nodes, so that sums of
// the weights of the nodes do for all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "system.hpp"

namespace kan {

// The nodes of one table, uniform in 1/r from the cutoff inwards, and how far distances lie outside the data (its
// grades, on nodes of their own over the same range). Closer than `floor`, nothing is known.
struct RadialGrid {
    double start, end, floor;     // distances
    std::size_t first;            // column of its first node, at the end
    std::size_t nodes;
    const double* grades;
    std::size_t n_grades;
};

// Weights of the nodes: of the energy (columns), and where they are wanted of the forces (atoms, 3, columns) and of the
// virial (columns, 6), else null; the largest grade of each atom's pairs, and whether some are closer than the floor.
struct RadialSums {
    double* energy;
    float* forces;
    double* virial;
    double* grades;
    std::uint8_t* lost;
    std::size_t columns;
};

void add_radial(const System& system, const std::vector<RadialGrid>& grids, const RadialSums& to);

}  // namespace kan
