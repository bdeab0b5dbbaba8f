// Threads that share the items of one loop at a time. They belong to the library, not to OpenMP: a loop ends when its
// items are done, whoever did them, so a thread that the system keeps from running holds nobody up unless it has begun
// an item. Idle threads spin for about 0.1 ms, since the next loop of a step follows soon, and then sleep.
//
// Each thread begins with a run of neighbouring items, so that what it prefetches is what it reads next; when its run is
// out it takes from the ends of the others' runs.
//
//     items     0 1 2 3 4 5 6 7
//     thread 0  ▸ . . .             takes 0, 1, 2 ...
//     thread 1          ▸ . . ◂     takes 4, 5, 6 ...; thread 0, when it is done, 7, 6 ...
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <sched.h>
#endif

namespace abruzzi {

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

class Pool {
  public:
    static Pool& shared() {
        static Pool* pool = new Pool;  // never destroyed: its threads may outlive main's objects
        return *pool;
    }

    int size() const { return threads_; }

    // Callers besides this many threads; called between loops only.
    void resize(int threads) {
        stop();
        threads_ = threads;
        runs_.reset(new Run[size_t(threads)]);
        for (int i = 1; i < threads; i++) workers_.emplace_back([this, i] { serve(i); });
    }

    // body(item) for each item in [0, items), in any order, on any thread. Returns when all are done.
    template <class Body>
    void each(int items, const Body& body) {
        if (threads_ == 1 || items <= 1) {
            for (int item = 0; item < items; item++) body(item);
            return;
        }
        const int some = items / int(MOST) + 1;  // neighbours taken as one: 1 but in huge loops
        const auto several = [&](int block) {
            for (int item = block * some; item < std::min((block + 1) * some, items); item++) body(item);
        };
        start([](const void* context, int block) { (*static_cast<decltype(&several)>(context))(block); }, &several,
              (items + some - 1) / some);
    }

  private:
    using Call = void (*)(const void*, int);
    static constexpr int SPINS = 4000;

    // A thread's run of items: the loop it belongs to, its first item, and the one after its last. An item is taken by
    // exchanging the whole, so that whoever looked at another loop takes nothing. Between loops runs are empty while the
    // rest below changes: without that, a thread that saw the last loop could read the next one's body and take an item.
    struct alignas(64) Run {
        std::atomic<uint64_t> state{0};
    };
    static constexpr int BITS = 18;
    static constexpr uint64_t MOST = (uint64_t(1) << BITS) - 1;  // items of a loop
    static uint64_t run_of(uint64_t loop, uint64_t first, uint64_t end) { return loop << 2 * BITS | first << BITS | end; }

    int threads_ = 1;
    std::unique_ptr<Run[]> runs_{new Run[1]};
    uint64_t loop_ = 0;
    std::atomic<int> calls_{0};  // what sleepers watch
    std::atomic<uint32_t> finished_{0};
    std::atomic<Call> call_{nullptr};
    std::atomic<const void*> context_{nullptr};
    std::atomic<bool> stopping_{false};
    std::vector<std::thread> workers_;

    void start(Call call, const void* context, int items) {
        const uint64_t threads = uint64_t(size());
        for (uint64_t i = 0; i < threads; i++) runs_[i].state.exchange(run_of(loop_, 0, 0), std::memory_order_acq_rel);
        loop_ = (loop_ + 1) & (~uint64_t(0) >> 2 * BITS);
        call_.store(call, std::memory_order_relaxed);
        context_.store(context, std::memory_order_relaxed);
        finished_.store(0, std::memory_order_relaxed);
        for (uint64_t i = 0; i < threads; i++) {
            const uint64_t first = uint64_t(items) * i / threads, end = uint64_t(items) * (i + 1) / threads;
            runs_[i].state.store(run_of(loop_, first, end), std::memory_order_release);
        }
        wake();
        work(0);
        for (int spins = 0; finished_.load(std::memory_order_acquire) != uint32_t(items); spins++) {
            relax();
            if (spins > SPINS) yield();
        }
    }

    // Takes items while there are any: this thread's own, then others'.
    void work(int thread) {
        for (int i = 0; i < threads_; i++)
            while (take(runs_[size_t((thread + i) % threads_)], i == 0)) {
            }
    }

    bool take(Run& run, bool from_front) {
        uint64_t state = run.state.load(std::memory_order_acquire);
        for (;;) {
            const uint64_t first = state >> BITS & MOST, end = state & MOST;
            if (first >= end) return false;
            const Call call = call_.load(std::memory_order_relaxed);
            const void* context = context_.load(std::memory_order_relaxed);
            const uint64_t left = from_front ? state + (uint64_t(1) << BITS) : state - 1;
            if (!run.state.compare_exchange_weak(state, left, std::memory_order_acq_rel, std::memory_order_acquire))
                continue;
            call(context, int(from_front ? first : end - 1));
            finished_.fetch_add(1, std::memory_order_release);
            return true;
        }
    }

    void serve(int thread) {
        for (int seen = -1, spins = 0;;) {
            const int calls = calls_.load(std::memory_order_acquire);  // before what it tells of, or its wait misses it
            if (stopping_.load(std::memory_order_relaxed)) return;
            if (calls != seen) {
                work(thread);
                seen = calls;
                spins = 0;
            } else if (++spins < SPINS) {
                relax();
            } else {
                calls_.wait(calls, std::memory_order_acquire);
                spins = 0;
            }
        }
    }

    void wake() {
        calls_.fetch_add(1, std::memory_order_release);
        calls_.notify_all();
    }

    void stop() {
        stopping_.store(true);
        wake();
        for (auto& worker : workers_) worker.join();
        workers_.clear();
        stopping_.store(false);
    }

    static void yield() { std::this_thread::yield(); }
};

}  // namespace abruzzi
