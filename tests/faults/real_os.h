// The system's own calls (io/os.h), under another name.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace coldpress::real_os {

int open(const char* path, int flags, mode_t mode = 0);
int close(int fd);
ssize_t read(int fd, void* into, std::size_t size);
ssize_t pread(int fd, void* into, std::size_t size, uint64_t offset);
ssize_t pwrite(int fd, const void* from, std::size_t size, uint64_t offset);
int reserve(int fd, uint64_t size);
int truncate(int fd, uint64_t size);
int sync(int fd);
void* map(int fd, std::size_t size);
void unmap(void* data, std::size_t size);
int rename(const char* from, const char* to);
int make_folder(const char* path);
int remove(const char* path);
int free_space(const char* folder, uint64_t* bytes);
int open_nameless(const char* folder);
void* map_shared(int fd, std::size_t size);

}  // namespace coldpress::real_os
