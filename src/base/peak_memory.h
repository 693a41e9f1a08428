// What the process has used.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace coldpress {

// The most memory it has held so far, mapped pages included.
int64_t peak_rss_bytes();

// Its anonymous memory now: what it must give back before anyone else can have it. 0 where the
// system does not tell.
int64_t anonymous_bytes();

// The most anonymous memory while it lives, looked at every few milliseconds: the system keeps no
// such peak.
class AnonymousPeak {
 public:
  AnonymousPeak();
  ~AnonymousPeak();
  AnonymousPeak(const AnonymousPeak&) = delete;
  AnonymousPeak& operator=(const AnonymousPeak&) = delete;

  int64_t bytes() const { return peak_; }

 private:
  std::atomic<int64_t> peak_ = 0;
  std::jthread thread_;
};

}  // namespace coldpress
