// quant_method "fp8": FP8 codes "X.weight" with "X.weight_scale_inv" (or "X.weight_scale"), one
// scale per block of weight_block_size, per row or for the whole tensor. Either name holds factors
// that the codes are multiplied by.
#include "io/fp8.h"

#include <array>

#include "io/json.h"
#include "model/packed_parts.h"

namespace coldpress {
namespace {

constexpr int64_t kLargestBlock = int64_t{1} << 24;

class Reader final : public PackedReader {
 public:
  explicit Reader(std::optional<BlockSize> block) : block_(block) {}

  Result<std::optional<PackedWeight>> read(const StoredTensor& codes,
                                           const StoredTensors& all) const override {
    if (!is_fp8(codes.dtype)) return std::optional<PackedWeight>();
    const StoredTensor* scales = all.find(codes.name + "_scale_inv");
    if (scales == nullptr) {
      COLDPRESS_ASSIGN_OR_RETURN(scales,
                                 need_part(all, codes.name + "_scale", codes.name, "scales"));
    }
    COLDPRESS_RETURN_IF_ERROR(check_matrix(all, codes));
    const std::array<BlockSize, 3> blocks = {BlockSize{codes.shape[0], codes.shape[1]},
                                             BlockSize{1, codes.shape[1]},
                                             block_.value_or(BlockSize{1, codes.shape[1]})};
    COLDPRESS_ASSIGN_OR_RETURN(PackedWeight weight,
                               scaled_bytes(all, codes, *scales, nullptr, blocks));
    return std::optional<PackedWeight>(std::move(weight));
  }

 private:
  std::optional<BlockSize> block_;
};

Result<std::unique_ptr<PackedReader>> open(const Json& settings, const std::string& where) {
  std::optional<BlockSize> block;
  const auto sizes = settings.find("weight_block_size");
  if (sizes != settings.end() && !sizes->is_null()) {
    const auto is_size = [](const Json& n) {
      return n.is_number_unsigned() && n.get<uint64_t>() >= 1 && n.get<uint64_t>() <= kLargestBlock;
    };
    if (!sizes->is_array() || sizes->size() != 2 || !is_size((*sizes)[0]) ||
        !is_size((*sizes)[1])) {
      return corrupt(where +
                     ": \"weight_block_size\" of quantization_config must be two sizes, such as "
                     "[128, 128]");
    }
    block = BlockSize{(*sizes)[0].get<int64_t>(), (*sizes)[1].get<int64_t>()};
  }
  return std::unique_ptr<PackedReader>(std::make_unique<Reader>(block));
}

}  // namespace

extern const PackedForm kPackedForm_fp8;
const PackedForm kPackedForm_fp8 = {.quant_method = "fp8", .open = open};

}  // namespace coldpress
