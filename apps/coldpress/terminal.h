// What the user sees: errors, progress, tables, sizes. Results go to stdout, everything else to
// stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace coldpress::cli {

// "coldpress: MESSAGE" on stderr, as one line.
void print_error(std::string_view message);
// "coldpress: MESSAGE" on stderr, where nothing is wrong.
void print_notice(std::string_view message);
// "coldpress: warning: MESSAGE" on stderr.
void print_warning(std::string_view message);

// All cores when `requested` is 0.
int thread_count(int requested);

std::string human_bytes(double bytes);                      // "98.4 MB"
std::string human_seconds(double seconds);                  // "2 min 05 s"
std::string shape_text(const std::vector<int64_t>& shape);  // "576x1536"

// Columns aligned to their widest cell; the first row is the heading. Numbers (cells that start
// with a digit, a minus or a dot) are right-aligned.
std::string text_table(const std::vector<std::vector<std::string>>& rows);

// One line on stderr, redrawn with a bar and the remaining time; silent when stderr is not a
// terminal.
class ProgressBar {
 public:
  explicit ProgressBar(std::string what);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(int64_t done, int64_t total, std::string_view note = {});
  void finish();  // erases the bar: what follows is printed below

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point start_;
  Clock::time_point last_draw_;
};

}  // namespace coldpress::cli
