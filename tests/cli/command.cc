#include "tests/cli/command.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;

// In the child: never returns.
[[noreturn]] void become(const std::vector<std::string>& argv, const CommandOptions& options,
                         int out, int err) {
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
  if (options.file_size_limit) {
    const rlimit limit = {*options.file_size_limit, *options.file_size_limit};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

// Everything a terminal's other end has to say until the child closes it.
std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  ssize_t n = 0;
  while ((n = read(fd, buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<size_t>(n));
  }
  return text;
}

}  // namespace

CommandResult run_command(const std::vector<std::string>& argv, const CommandOptions& options) {
  const TempFolder folder;
  const int flags = O_RDWR | O_CREAT | O_CLOEXEC;
  const int out = open((folder / "out").c_str(), flags, 0600);
  int err = -1;
  int terminal = -1;
  if (options.stderr_is_terminal) {
    EXPECT_EQ(openpty(&terminal, &err, nullptr, nullptr, nullptr), 0);
  } else {
    err = open((folder / "err").c_str(), flags, 0600);
  }
  const pid_t child = fork();
  if (child == 0) become(argv, options, out, err);
  close(out);
  close(err);
  CommandResult result;
  if (options.kill_after) {
    std::this_thread::sleep_for(std::chrono::duration<double>(*options.kill_after));
    kill(child, SIGKILL);  // not waited for yet, so it is nobody else's
  }
  if (options.stderr_is_terminal) {
    result.err = read_all(terminal);
    close(terminal);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = slurp(folder / "out");
  if (!options.stderr_is_terminal) result.err = slurp(folder / "err");
  return result;
}

CommandResult run_coldpress(std::vector<std::string> arguments, const CommandOptions& options) {
  arguments.insert(arguments.begin(), COLDPRESS_BINARY);
  return run_command(arguments, options);
}

void expect_refusal(const CommandResult& result, int exit_code,
                    const std::vector<std::string>& parts) {
  EXPECT_EQ(result.exit_code, exit_code);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, testing::StartsWith("coldpress: "));
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  for (const std::string& part : parts) EXPECT_THAT(result.err, testing::HasSubstr(part));
}

void write_file(const fs::path& path, const std::string& bytes) {
  if (path.has_parent_path()) fs::create_directories(path.parent_path());
  std::ofstream stream(path, std::ios::binary);
  stream << bytes;
  EXPECT_TRUE(stream.good()) << path;
}

}  // namespace coldpress::test
