#include "export/verify.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cstring>

namespace coldpress {
namespace {

// The stored values of a quantised tensor, back in the source's row order.
MatrixF in_source_order(const OutputTensor& tensor, const MatrixF& stored) {
  MatrixF out(stored.rows(), stored.cols());
  for (int64_t r = 0; r < stored.rows(); ++r) {
    std::memcpy(out.row(source_row(tensor, r)), stored.row(r),
                static_cast<std::size_t>(stored.cols()) * sizeof(float));
  }
  return out;
}

Status differs(const std::string& name, const OutputTensor& tensor, const char* what) {
  return corrupt(
      fmt::format("{}: tensor \"{}\" does not read back {}; the disk or the memory of this "
                  "machine may be failing",
                  name, tensor.name, what));
}

Status verify_tensor(const std::string& name, const Model& written, const Model& source,
                     const OutputTensor& tensor, const PieceHashes& hashes) {
  const SourceTensor* stored = written.find(tensor.name);
  if (stored == nullptr || stored->shape != tensor.shape || stored->type != tensor.stored_type) {
    return differs(name, tensor, "with its shape and type");
  }
  if (tensor.how == OutputTensor::How::kQuantised) {
    COLDPRESS_ASSIGN_OR_RETURN(MatrixF ordered, written.load(tensor.name));
    if (!tensor.rows.empty()) ordered = in_source_order(tensor, ordered);
    std::vector<Piece> pieces = tensor.pieces;
    if (pieces.empty()) pieces.push_back({tensor.source, 0, ordered.rows(), 0});
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const View2<const float> piece = ordered.view().row_range(pieces[i].at, pieces[i].rows);
      if (hash_values(piece) != hashes.at({tensor.name, i})) {
        return differs(name, tensor, "as the values that were written");
      }
    }
    return {};
  }
  std::vector<std::byte> buffer;
  COLDPRESS_ASSIGN_OR_RETURN(const auto expected, stored_bytes(source, tensor, buffer));
  const bool same =
      stored->data.size() == expected.size() &&
      (expected.empty() || std::memcmp(stored->data.data(), expected.data(), expected.size()) == 0);
  drop_mapped(stored->data.data(), stored->data.size());
  drop_source(source, tensor);
  return same ? Status() : differs(name, tensor, "as the source's bytes");
}

}  // namespace

ValueHash hash_values(View2<const float> values) {
  XXH3_state_t* state = XXH3_createState();
  COLDPRESS_CHECK(state != nullptr);
  XXH3_128bits_reset(state);
  for (int64_t r = 0; r < values.rows; ++r) {
    XXH3_128bits_update(state, values.row(r),
                        static_cast<std::size_t>(values.cols) * sizeof(float));
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state);
  XXH3_freeState(state);
  return {hash.low64, hash.high64};
}

Status verify_output(const std::filesystem::path& written, const std::string& name,
                     const Model& source, const std::vector<OutputTensor>& layout,
                     const PieceHashes& hashes) {
  auto opened = Model::open(written);
  if (!opened.ok()) {
    return opened.status().with_context(name + ": what was written cannot be read back");
  }
  const Model& output = **opened;
  if (output.tensors().size() != layout.size()) {
    return corrupt(fmt::format("{}: reads back with {} tensors instead of {}", name,
                               output.tensors().size(), layout.size()));
  }
  for (const OutputTensor& tensor : layout) {
    COLDPRESS_RETURN_IF_ERROR(verify_tensor(name, output, source, tensor, hashes));
  }
  return {};
}

}  // namespace coldpress
