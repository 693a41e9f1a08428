#include "export/gguf_parts.h"

#include <fmt/format.h>

#include <optional>
#include <unordered_map>
#include <utility>

#include "io/file.h"
#include "io/ggml_codec.h"
#include "io/gguf_split.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

uint64_t bytes_of(const GgufWriter::Declaration& t, uint64_t alignment) {
  // A declaration that cannot be is refused by the writer.
  uint64_t bytes = ggml_row_bytes(t.ggml_type, t.shape.empty() ? 1 : t.shape.back()).value_or(0);
  for (std::size_t d = 0; d + 1 < t.shape.size(); ++d) bytes *= static_cast<uint64_t>(t.shape[d]);
  return (bytes + alignment - 1) / alignment * alignment;
}

std::vector<std::vector<GgufWriter::Declaration>> cut(std::vector<GgufWriter::Declaration> tensors,
                                                      uint64_t alignment, uint64_t split_bytes) {
  std::vector<std::vector<GgufWriter::Declaration>> parts(1);
  uint64_t used = 0;
  for (GgufWriter::Declaration& t : tensors) {
    const uint64_t bytes = bytes_of(t, alignment);
    if (split_bytes > 0 && !parts.back().empty() && used + bytes > split_bytes) {
      parts.emplace_back();
      used = 0;
    }
    used += bytes;
    parts.back().push_back(std::move(t));
  }
  return parts;
}

}  // namespace

struct GgufParts::State {
  std::optional<AtomicFolder> folder;  // holds the parts until commit(); none for a single file
  std::vector<GgufWriter> writers;
  std::vector<fs::path> work;                            // of each part, when sealed
  std::vector<fs::path> target;                          // of each part
  std::unordered_map<std::string, std::size_t> part_of;  // by tensor
};

GgufParts::GgufParts(std::unique_ptr<State> state) : state_(std::move(state)) {}
GgufParts::GgufParts(GgufParts&&) noexcept = default;
GgufParts& GgufParts::operator=(GgufParts&&) noexcept = default;
GgufParts::~GgufParts() = default;

Result<GgufParts> GgufParts::create(const fs::path& path, Metadata metadata,
                                    std::vector<GgufWriter::Declaration> tensors,
                                    uint64_t alignment, uint64_t split_bytes) {
  auto state = std::make_unique<State>();
  erase_split_keys(metadata);
  const std::size_t total = tensors.size();
  auto parts = cut(std::move(tensors), alignment, split_bytes);
  const auto count = static_cast<int64_t>(parts.size());
  if (count > kMostSplits) {
    return invalid_argument(
        fmt::format("{}: --split-max-size gives {} files, more than the {} possible; use a larger "
                    "size",
                    path.string(), count, kMostSplits));
  }
  if (count > 1) {
    COLDPRESS_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(path));
    state->folder.emplace(std::move(folder));
  }
  for (int64_t i = 0; i < count; ++i) {
    auto& part = parts[static_cast<std::size_t>(i)];
    for (const GgufWriter::Declaration& t : part) {
      state->part_of[t.name] = static_cast<std::size_t>(i);
    }
    const fs::path target = count == 1 ? path : split_path(path, i, count);
    std::error_code error;
    if (count > 1 && fs::exists(fs::symlink_status(target, error))) {
      return invalid_argument(
          fmt::format("{} already exists; remove it or choose another name", target.string()));
    }
    Metadata of_part = i == 0 ? metadata : Metadata();
    if (count > 1) put_split_keys({i, count, static_cast<int64_t>(total)}, of_part);
    const fs::path work = count == 1 ? target : state->folder->work_path() / target.filename();
    COLDPRESS_ASSIGN_OR_RETURN(GgufWriter writer,
                               GgufWriter::create(work, of_part, std::move(part), alignment));
    state->work.push_back(count == 1 ? writer.work_path() : work);
    state->writers.push_back(std::move(writer));
    state->target.push_back(target);
  }
  return GgufParts(std::move(state));
}

Status GgufParts::write(const std::string& name, std::span<const std::byte> data) {
  return state_->writers[state_->part_of.at(name)].write(name, data);
}

Status GgufParts::set_string(const std::string& key, std::string_view text) {
  return state_->writers.front().set_string(key, text);
}

Status GgufParts::seal() {
  if (!state_->folder) return {};
  for (GgufWriter& writer : state_->writers) COLDPRESS_RETURN_IF_ERROR(writer.finish());
  return {};
}

const fs::path& GgufParts::work_path() const { return state_->work.front(); }

// The first part opens the model, so it comes last.
Status GgufParts::commit() {
  State& s = *state_;
  if (!s.folder) return s.writers.front().finish();
  for (std::size_t i = s.target.size(); i-- > 0;) {
    const Status moved = move_file(s.work[i], s.target[i]);
    if (moved.ok()) continue;
    for (std::size_t done = i + 1; done < s.target.size(); ++done) {
      remove_file(s.target[done]);
    }
    return moved;
  }
  return {};
}

}  // namespace coldpress
