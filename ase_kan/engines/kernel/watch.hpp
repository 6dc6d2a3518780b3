// Extrapolation in steps that nobody sees: which of them must be told of.
#pragma once

#include <cstdint>

namespace kan {

// As `Guard.check` in guard.py.
struct Watch {
    // Kinds of extrapolation that need not be told, until `most_quiet` steps in a row had none.
    unsigned told = 0;
    std::int64_t quiet = 0, most_quiet = 0;

    // Take note of a step, unless there is something to tell.
    bool passes(unsigned kinds) {
        if (kinds & ~told) return false;
        if (kinds)
            quiet = 0;
        else if (++quiet == most_quiet)
            told = 0;
        return true;
    }
};

}  // namespace kan
