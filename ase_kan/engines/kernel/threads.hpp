// Work shared by threads that live for one call: nothing spins, and nothing survives a fork.
#pragma once

#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace kan {

// work(t) for every t below `threads`, work(0) on the calling thread. What one of them throws is thrown here once all
// have ended; the shares of threads that the machine cannot start are done by the calling one.
template <class Work> void on_threads(int threads, const Work& work) {
    if (threads == 1) return work(0);
    std::exception_ptr failure;
    std::mutex one;
    const auto careful = [&](int t) noexcept {
        try {
            work(t);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(one);
            if (!failure) failure = std::current_exception();
        }
    };
    std::vector<std::thread> workers;
    workers.reserve(threads);
    int t = 1;
    try {
        for (; t < threads; ++t) workers.emplace_back(careful, t);
    } catch (...) {
        // No more threads, or no memory for one.
    }
    careful(0);
    for (; t < threads; ++t) careful(t);
    for (auto& worker : workers) worker.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace kan
