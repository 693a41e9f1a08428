// The calls by which files are read and changed, as the system has them: results and errno are its
// own, but that interrupted calls are made again. Everything in src/ that writes goes through here
// (but for recursive removal of what was not finished),
// so that a program that is linked with other definitions decides what fails (tests/faults).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace coldpress::os {

int open(const char* path, int flags, mode_t mode = 0);  // closed on exec
int close(int fd);
ssize_t read(int fd, void* into, std::size_t size);
ssize_t pread(int fd, void* into, std::size_t size, uint64_t offset);
ssize_t pwrite(int fd, const void* from, std::size_t size, uint64_t offset);
// Reserves space; 0 where the file system cannot, which is no error.
int reserve(int fd, uint64_t size);
int truncate(int fd, uint64_t size);
int sync(int fd);
void* map(int fd, std::size_t size);  // for reading; MAP_FAILED
void unmap(void* data, std::size_t size);
int rename(const char* from, const char* to);
int make_folder(const char* path);
int remove(const char* path);  // a file or an empty folder
// What a user without privileges may still write where `folder` is.
int free_space(const char* folder, uint64_t* bytes);
// An open file in `folder` that has no name, so that nothing of it stays.
int open_nameless(const char* folder);
void* map_shared(int fd, std::size_t size);  // for writing, too; MAP_FAILED

}  // namespace coldpress::os
