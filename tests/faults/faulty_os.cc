#include "tests/faults/faulty_os.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>

#include "io/os.h"
#include "tests/faults/real_os.h"

namespace coldpress {
namespace {

struct Plan {
  std::atomic<test::Call> call{test::Call::kOpen};
  std::atomic<int64_t> left{0};  // calls until it fails; 0: never, or done
  std::atomic<int> error{0};
  std::atomic<bool> has_failed{false};
};

Plan plan;

bool fails(test::Call call) {
  if (call != plan.call || plan.left.load() <= 0 || plan.left.fetch_sub(1) != 1) return false;
  plan.has_failed = true;
  errno = plan.error;
  return true;
}

}  // namespace

namespace test {

void fail_call(Call call, int64_t n, int error) {
  plan.call = call;
  plan.error = error;
  plan.has_failed = false;
  plan.left = n;
}

bool has_failed() { return plan.has_failed; }

}  // namespace test

namespace os {

using test::Call;

int open(const char* path, int flags, mode_t mode) {
  return fails((flags & O_CREAT) != 0 ? Call::kCreate : Call::kOpen)
             ? -1
             : real_os::open(path, flags, mode);
}
int close(int fd) { return real_os::close(fd); }
ssize_t read(int fd, void* into, std::size_t size) {
  return fails(Call::kRead) ? -1 : real_os::read(fd, into, size);
}
ssize_t pread(int fd, void* into, std::size_t size, uint64_t offset) {
  return fails(Call::kRead) ? -1 : real_os::pread(fd, into, size, offset);
}
ssize_t pwrite(int fd, const void* from, std::size_t size, uint64_t offset) {
  return fails(Call::kWrite) ? -1 : real_os::pwrite(fd, from, size, offset);
}
int reserve(int fd, uint64_t size) { return fails(Call::kWrite) ? -1 : real_os::reserve(fd, size); }
int truncate(int fd, uint64_t size) {
  return fails(Call::kWrite) ? -1 : real_os::truncate(fd, size);
}
int sync(int fd) { return fails(Call::kSync) ? -1 : real_os::sync(fd); }
void* map(int fd, std::size_t size) {
  return fails(Call::kMap) ? MAP_FAILED : real_os::map(fd, size);
}
void unmap(void* data, std::size_t size) { real_os::unmap(data, size); }
int rename(const char* from, const char* to) {
  return fails(Call::kRename) ? -1 : real_os::rename(from, to);
}
int make_folder(const char* path) { return fails(Call::kCreate) ? -1 : real_os::make_folder(path); }
int remove(const char* path) { return fails(Call::kRemove) ? -1 : real_os::remove(path); }
int free_space(const char* folder, uint64_t* bytes) {
  return fails(Call::kFreeSpace) ? -1 : real_os::free_space(folder, bytes);
}
int open_nameless(const char* folder) {
  return fails(Call::kCreate) ? -1 : real_os::open_nameless(folder);
}
void* map_shared(int fd, std::size_t size) {
  return fails(Call::kMap) ? MAP_FAILED : real_os::map_shared(fd, size);
}

}  // namespace os
}  // namespace coldpress
