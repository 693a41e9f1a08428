// Writing one GGUF model as one file or several (io/gguf_split.h), with the same guarantee: the
// final names appear only when everything is written, the first part's last.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/gguf.h"

namespace coldpress {

class GgufParts {
 public:
  using Metadata = std::vector<std::pair<std::string, GgufValue>>;

  // At most `split_bytes` of tensors per file (but at least one tensor) as
  // NAME-00001-of-0000N.gguf, or `path` itself where one file is enough or `split_bytes` is 0.
  // Files that exist are refused.
  static Result<GgufParts> create(const std::filesystem::path& path, Metadata metadata,
                                  std::vector<GgufWriter::Declaration> tensors, uint64_t alignment,
                                  uint64_t split_bytes);
  GgufParts(GgufParts&&) noexcept;
  GgufParts& operator=(GgufParts&&) noexcept;
  ~GgufParts();

  Status write(const std::string& name, std::span<const std::byte> data);
  Status set_string(const std::string& key, std::string_view text);  // of the first file
  // All is written; what work_path() names can be opened as a model.
  Status seal();
  const std::filesystem::path& work_path() const;
  Status commit();

 private:
  struct State;
  explicit GgufParts(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace coldpress
