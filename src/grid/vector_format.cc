#include "grid/vector_format.h"

#include <algorithm>
#include <vector>

#include "io/ggml_codec.h"

namespace coldpress {

Codebook read_codebook(const BlockFormat& format) {
  const int64_t length = format.vectors.length;
  const auto per_block = static_cast<std::size_t>(format.block / length);
  const std::vector<uint8_t> signs(static_cast<std::size_t>(format.block / Codebook::kUnit), 0);
  const std::vector<int> scale(static_cast<std::size_t>(format.block / format.group), 1);
  std::vector<uint16_t> words(per_block);
  std::vector<std::byte> bytes(static_cast<std::size_t>(format.block_bytes));
  std::vector<float> decoded(static_cast<std::size_t>(format.block));
  MatrixF book(format.vectors.words, length);
  for (int64_t first = 0; first < book.rows(); first += std::ssize(words)) {
    for (std::size_t v = 0; v < per_block; ++v) {
      words[v] = static_cast<uint16_t>(first + static_cast<int64_t>(v));
    }
    BlockParts parts{};
    parts.scale = scale.data();
    parts.unit = 1;
    parts.words = words.data();
    parts.signs = signs.data();
    format.pack(parts, bytes.data());
    COLDPRESS_CHECK(decode_ggml(format.ggml_type, bytes, format.block, decoded));
    std::copy_n(decoded.data(), std::ssize(words) * length, book.row(first));
  }
  return Codebook(book.view(), format.vectors.even_signs);
}

}  // namespace coldpress
