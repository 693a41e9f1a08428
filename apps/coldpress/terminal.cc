#include "terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <thread>
#include <utility>

namespace coldpress::cli {

void print_error(std::string_view message) {
  std::string line(message);
  std::replace(line.begin(), line.end(), '\n', ' ');
  fmt::print(stderr, "coldpress: {}\n", line);
}

void print_notice(std::string_view message) { fmt::print(stderr, "coldpress: {}\n", message); }

void print_warning(std::string_view message) {
  fmt::print(stderr, "coldpress: warning: {}\n", message);
}

int thread_count(int requested) {
  if (requested > 0) return requested;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::string human_bytes(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 999.95 && unit + 1 < std::size(units)) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return shape.empty() ? "scalar" : fmt::format("{}", fmt::join(shape, "x"));
}

std::string text_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  const auto is_number = [](const std::string& cell) {
    return !cell.empty() && (std::isdigit(static_cast<unsigned char>(cell[0])) != 0 ||
                             cell[0] == '-' || cell[0] == '.');
  };
  // A column is numeric when its first cell under the heading is.
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const bool right = rows.size() > 1 && c < rows[1].size() && is_number(rows[1][c]);
      if (c > 0) line += "  ";
      line += right ? fmt::format("{:>{}}", row[c], widths[c])
                    : fmt::format("{:<{}}", row[c], widths[c]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

ProgressBar::ProgressBar(std::string what)
    : what_(std::move(what)), terminal_(isatty(STDERR_FILENO) != 0), start_(Clock::now()) {}

ProgressBar::~ProgressBar() { finish(); }

void ProgressBar::finish() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

void ProgressBar::update(int64_t done, int64_t total, std::string_view note) {
  if (!terminal_ || total <= 0) return;
  const auto now = Clock::now();
  if (drawn_ && done < total && now - last_draw_ < std::chrono::milliseconds(100)) return;
  last_draw_ = now;
  constexpr int64_t kWidth = 24;
  const auto filled = static_cast<size_t>(std::clamp<int64_t>(done * kWidth / total, 0, kWidth));
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  std::string eta;
  if (done > 0 && done < total && elapsed > 0.5) {
    const double left = elapsed * static_cast<double>(total - done) / static_cast<double>(done);
    eta = ", " + human_seconds(left) + " left";
  }
  fmt::print(stderr, "\r\x1b[K{} [{}{}] {:3}%{}{}{}", what_, std::string(filled, '#'),
             std::string(kWidth - filled, '.'), 100 * done / total, eta, note.empty() ? "" : "  ",
             note);
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace coldpress::cli
