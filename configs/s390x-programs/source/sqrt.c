/* sqrt: square roots of binary floating point: short, long and extended (SQXBR). */
#include "system.h"

int main(int argc, char **argv, char **environment)
{
	static const double numbers[] = {2, 1e300, 0.25, 3};

	for (size_t index = 0; index < sizeof numbers / sizeof *numbers; index++) {
		float single = index == 1 ? 1e30f : (float)numbers[index];
		double plain = numbers[index];
		long double extended = numbers[index];

		__asm__("sqebr %0,%0" : "+f"(single));
		__asm__("sqdbr %0,%0" : "+f"(plain));
		__asm__("sqxbr %0,%0" : "+f"(extended));
		dump("short", &single, sizeof single);
		dump("long", &plain, sizeof plain);
		dump("extended", &extended, sizeof extended);
	}
	return 0;
}
