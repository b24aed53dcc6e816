// What every processor of the architecture has.
#define TORCHSMOOTH_ISA baseline
#include "table.h"
