#include "tokenizer/isolated.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string_view>

namespace coldpress {
namespace {

constexpr rlim_t kSeconds = 10;
constexpr uint64_t kMoreBytes = uint64_t{1} << 30;
constexpr std::size_t kLongestOutput = std::size_t{64} << 20;

// Of this process, now; 0 if unknown.
uint64_t address_space() {
  unsigned long long pages = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  if (std::fscanf(file, "%llu", &pages) != 1) pages = 0;
  std::fclose(file);
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

void limit(int what, rlim_t value) {
  const rlimit bounds = {value, value};
  setrlimit(static_cast<__rlimit_resource_t>(what), &bounds);
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

[[noreturn]] void be_child(const std::function<std::string()>& work, int out) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody else waits for it; it would keep the parent's locks
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, kSeconds);
  if (const uint64_t now = address_space(); now > 0) limit(RLIMIT_AS, now + kMoreBytes);
  const int null = open("/dev/null", O_WRONLY);
  if (null >= 0) dup2(null, STDERR_FILENO);
  bool done = false;
  try {
    done = write_all(out, work());
  } catch (...) {
    done = false;
  }
  _exit(done ? 0 : 1);
}

}  // namespace

Result<std::string> run_isolated(const std::function<std::string()>& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return io_error("could not run: no pipe");
  const pid_t child = fork();
  if (child < 0) {
    close(ends[0]);
    close(ends[1]);
    return io_error("could not run: no process");
  }
  if (child == 0) be_child(work, ends[1]);
  close(ends[1]);
  std::string text;
  std::array<char, 65536> buffer;
  bool too_long = false;
  for (;;) {
    const ssize_t n = read(ends[0], buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
    too_long = text.size() > kLongestOutput;
    if (too_long) {
      kill(child, SIGKILL);
      break;
    }
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (too_long) return corrupt("made more than 64 MiB of text");
  if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGXCPU)) {
    return corrupt("ran longer than 10 seconds");
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return corrupt("used up its stack or its memory");
  }
  return text;
}

}  // namespace coldpress
