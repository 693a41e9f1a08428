#include "base/peak_memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <stop_token>
#include <string>

namespace coldpress {

int64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

int64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  int64_t value = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("RssAnon:", 0) != 0) continue;
    value = std::strtoll(line.c_str() + 8, nullptr, 10) * 1024;
  }
  return value;
}

AnonymousPeak::AnonymousPeak()
    : thread_([this](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          peak_ = std::max(peak_.load(), anonymous_bytes());
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
      }) {}

AnonymousPeak::~AnonymousPeak() = default;  // joins

}  // namespace coldpress
