// Energies and forces of atoms that move: keeps the lists good and shares the sums among threads.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "motion.hpp"
#include "system.hpp"

namespace kan {

// Where results go: forces (n, 3) and virial (6), written; energies (n) and virials (n, 6), null or zero before.
struct Results {
    double *forces, *virial, *energies, *virials;
};

struct Total {
    double energy = 0.0, shortest2 = std::numeric_limits<double>::infinity();
    std::int64_t below = 0, above = 0, inside = 0, densities = 0;
    bool inner = false;

    // Atoms are closer than the tables go, and nothing else counts.
    bool beyond() const { return inner || !std::isfinite(energy); }
    // Of extrapolation, in the order of `KINDS` in guard.py.
    unsigned kinds() const { return (below > 0) | (above > 0) << 1 | (inside > 0) << 2 | (densities > 0) << 3; }
};

class Summation {
  public:
    Summation(double cutoff, double skin);

    // Lists are out of date; after any throw as well.
    void forget() { listed_ = pruned_ = false; }
    // Whether there is a list of the last run.
    bool listed() const { return pruned_; }
    // Sum over the pairs of at least one atom. `poll` is called now and then by this thread, and may throw. A motion
    // goes on with its step by the new forces, unless they are beyond the tables; `move` does what comes before them,
    // for which there must be a list.
    Total run(const double* positions, bool per_atom, const Results& to, void (*poll)(), Motion* motion = nullptr,
              bool move = false);

    // The share of a thread in n things begins here.
    std::size_t share(std::size_t n, int t) const { return n * t / threads; }

    System system;
    PairKernel kernel = baseline::kernel;
    EmbeddedKernel embedded_kernel = baseline::embedded_kernel;
    std::vector<double> last;             // positions, three per atom
    std::vector<std::uint8_t> element;    // of each atom
    double box[9] = {}, inverse[9] = {};  // rows are vectors; unit vectors where not periodic
    bool periodic[3] = {};
    int threads = 1;
    std::size_t builds = 0;

  private:
    // Largest squared displacements; infinite if a position is not finite.
    struct Moved {
        double since_built = std::numeric_limits<double>::infinity(), since_pruned = since_built;
    };

    Moved gather(const double* positions, std::size_t first, std::size_t end, Motion* motion);
    void update(const double* positions, void (*poll)(), Motion* motion);
    void prune(void (*poll)());
    Scratch prepare(Workspace& work, bool per_atom) const;
    void sum_pairs(bool per_atom, void (*poll)());
    void sum_embedded(bool per_atom, void (*poll)());
    void densities(int t, bool per_atom, const Scratch& scratch, void (*poll)());
    void embed(int t, bool per_atom);
    Total collect(bool per_atom, const Results& to, Motion* motion) const;
    std::vector<std::size_t> partition(List Block::* list) const;
    bool slow() const;

    double reach_, inner_reach_, half_skin2_;
    bool listed_ = false, pruned_ = false;
    std::vector<std::size_t> bounds_;
    std::vector<Workspace> work_;
};

}  // namespace kan
