// The safetensors container: 8-byte little-endian header length, JSON header, raw tensor bytes.
//
// Reader: any bytes give an error or a value. Sizes, offsets, overlaps, duplicate names and dtypes
// are checked before anything is used; nothing is allocated beyond what the file's own size
// justifies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "io/file.h"

namespace coldpress {

struct SafetensorsInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;       // row-major, as stored
  std::span<const std::byte> data;  // into the mapped file; lives as long as it
};

struct SafetensorsContent {
  std::vector<SafetensorsInfo> tensors;         // in file order (by data offset)
  std::map<std::string, std::string> metadata;  // "__metadata__", may be empty
};

// Parses a whole file held in memory. `where` names the file in errors.
Result<SafetensorsContent> parse_safetensors(std::span<const std::byte> bytes,
                                             const std::string& where);

class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::filesystem::path& path);
  const SafetensorsContent& content() const { return content_; }
  const SafetensorsInfo* find(const std::string& name) const;  // nullptr when absent

 private:
  SafetensorsFile(MappedFile file, SafetensorsContent content)
      : file_(std::move(file)), content_(std::move(content)) {}
  MappedFile file_;
  SafetensorsContent content_;
};

// Writes a file whose tensors are declared first and filled in any order. The header is padded with
// spaces to a multiple of 8. finish() fails if a declared tensor was never written.
class SafetensorsWriter {
 public:
  struct Declaration {
    std::string name;
    DType dtype;
    std::vector<int64_t> shape;
  };
  static Result<SafetensorsWriter> create(const std::filesystem::path& path,
                                          std::vector<Declaration> tensors,
                                          const std::map<std::string, std::string>& metadata);
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) noexcept;
  ~SafetensorsWriter();
  Status write(const std::string& name, std::span<const std::byte> data);  // exactly its size
  Status finish();  // the file appears under its final name

 private:
  struct State;
  explicit SafetensorsWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace coldpress
